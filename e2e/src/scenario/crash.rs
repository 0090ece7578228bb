//! The operator dies before and after every call that changes something, while it creates, edits, rotates, revokes and
//! deletes: the same end state each time, nobody locked out, nothing left over.

mod gate;
mod lane;
mod verb;

use std::{fmt::Write as _, time::Instant};

use anyhow::{Context as _, ensure};
use futures::future::try_join_all;
use rand::{rngs::StdRng, seq::IndexedRandom as _};

use self::{gate::Cut, lane::Lane, verb::Verb};
use super::Plan;
use crate::{
    report::announce,
    stage::{KilledOperator, Stage},
};

/// What a stack goes through and back again; a run of one such pair is a round.
const PAIRS: [[Verb; 2]; 3] =
    [[Verb::Create, Verb::Delete], [Verb::Extend, Verb::Reduce], [Verb::Rotate, Verb::Revoke]];
/// Lanes of a full run: each waits most of the time, and what several send at once restarts the development server once.
const LANES: u16 = 6;

/// What a pair came to when nothing disturbed it.
#[derive(Debug)]
struct Undisturbed {
    calls: [Vec<String>; 2],
    ends: [String; 2],
}

/// Where the operator dies in each verb of a pair.
type Round = [Option<Cut>; 2];

pub(super) async fn run(stage: &Stage, plan: Plan) -> anyhow::Result<String> {
    // Each lane has an operator of its own.
    let shared = KilledOperator::kill(stage).await?;
    let told = explore(stage, plan).await?;
    shared.restore()?;
    Ok(told)
}

async fn explore(stage: &Stage, plan: Plan) -> anyhow::Result<String> {
    let mut lanes = try_join_all((0..plan.pick(1, LANES)).map(|number| Lane::start(stage, number))).await?;
    let mut told = String::from("calls that change something, and deaths before or after one:");
    let mut random = plan.random();
    for pair in plan.some(&PAIRS, &mut random) {
        try_join_all(lanes.iter_mut().map(|lane| lane.prepare(pair[0]))).await?;
        let undisturbed = measure(&mut lanes[0], pair).await?;
        let rounds = plan.pick(vec![any(&undisturbed, &mut random)], every(&undisturbed));
        let width = lanes.len();
        let deaths = try_join_all(lanes.iter_mut().enumerate().map(|(number, lane)| {
            disturb(lane, pair, &undisturbed, rounds.iter().skip(number).step_by(width))
        }))
        .await?;
        for (index, verb) in pair.into_iter().enumerate() {
            let deaths: usize = deaths.iter().map(|deaths| deaths[index]).sum();
            let cuts = rounds.iter().filter(|round| round[index].is_some()).count();
            // Some calls do not come every time: an event, a status that a later one overtakes.
            let is_tried = deaths * 10 >= cuts * 9;
            ensure!(
                is_tried,
                "{verb}: only {deaths} of {cuts} calls were reached, so the others were not tried"
            );
            write!(told, " {verb} {} and {deaths} of {cuts},", undisturbed.calls[index].len())?;
        }
    }
    write!(told, " same end state each time, what was published let its holder in each time")?;
    Ok(told)
}

/// Runs a pair in peace.
async fn measure(lane: &mut Lane<'_>, pair: [Verb; 2]) -> anyhow::Result<Undisturbed> {
    let mut undisturbed = Undisturbed { calls: Default::default(), ends: Default::default() };
    for (index, verb) in pair.into_iter().enumerate() {
        let end = lane.undisturbed(verb).await.with_context(|| format!("{verb}, undisturbed"))?;
        // The definer stays with the data: every end state has a user, or nothing would be compared.
        ensure!(end.1.contains("\nuser "), "{verb} leaves no user in ClickHouse:\n{}", end.1);
        (undisturbed.calls[index], undisturbed.ends[index]) = end;
    }
    Ok(undisturbed)
}

/// Every call of both verbs, before and after.
fn every(undisturbed: &Undisturbed) -> Vec<Round> {
    let [first, second] = undisturbed.calls.each_ref().map(|calls| cuts(calls.len()));
    let round = |number| [&first, &second].map(|cuts| cuts.get(number).copied());
    (0..first.len().max(second.len())).map(round).collect()
}

/// One call of each verb; of the last ones some do not come every time.
fn any(undisturbed: &Undisturbed, random: &mut StdRng) -> Round {
    undisturbed.calls.each_ref().map(|calls| cuts(calls.len() * 3 / 4).choose(random).copied())
}

/// Before and after each of the first calls.
fn cuts(calls: usize) -> Vec<Cut> {
    let both = |call| [false, true].map(|is_delivered| Cut { call, is_delivered });
    (0..calls).flat_map(both).collect()
}

/// Runs rounds on one lane; returns how often the operator died in each verb.
async fn disturb(
    lane: &mut Lane<'_>,
    pair: [Verb; 2],
    undisturbed: &Undisturbed,
    rounds: impl Iterator<Item = &Round>,
) -> anyhow::Result<[usize; 2]> {
    let mut deaths = [0, 0];
    for round in rounds {
        for (index, verb) in pair.into_iter().enumerate() {
            let (cut, end) = (round[index], &undisturbed.ends[index]);
            let started = Instant::now();
            let planned = || format!("{verb}, {}", describe(cut, &undisturbed.calls[index]));
            let died_at = lane.disturbed(verb, cut, end).await.with_context(planned)?;
            // A full run takes long: whoever waits sees that it gets on.
            let what =
                died_at.as_ref().map_or_else(|| "lived on".to_owned(), |call| format!("died at {call}"));
            announce(&format!("{:6.1} s  {}: {what}", started.elapsed().as_secs_f64(), planned()));
            deaths[index] += usize::from(died_at.is_some());
        }
    }
    Ok(deaths)
}

fn describe(cut: Option<Cut>, calls: &[String]) -> String {
    let Some(Cut { call, is_delivered }) = cut else { return "undisturbed".into() };
    let side = if is_delivered { "after" } else { "before" };
    format!("cut off {side} call {call} ({})", calls.get(call).map_or("one more", String::as_str))
}
