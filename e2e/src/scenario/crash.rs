//! The operator dies before and after every call that changes something, while it creates, edits, rotates, revokes and
//! deletes: the same end state each time, nobody locked out, nothing left over.

mod call;
mod gate;
mod lane;
mod verb;

use std::{fmt::Write as _, time::Instant};

use anyhow::{Context as _, ensure};
use futures::future::try_join_all;
use rand::{rngs::StdRng, seq::IndexedRandom as _};

use self::{
    call::{Call, Cut},
    lane::Lane,
    verb::Verb,
};
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
    calls: [Vec<Call>; 2],
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
        let missed = try_join_all(lanes.iter_mut().enumerate().map(|(number, lane)| {
            disturb(lane, pair, &undisturbed.ends, rounds.iter().skip(number).step_by(width))
        }))
        .await?;
        for (index, verb) in pair.into_iter().enumerate() {
            let cuts = rounds.iter().filter(|round| round[index].is_some()).count();
            let missed: Vec<_> = missed.iter().flat_map(|missed| &missed[index]).collect();
            let calls = undisturbed.calls[index].len();
            write!(told, " {verb} {calls} and {} of {cuts},", cuts - missed.len())?;
            check_missed(&missed).with_context(|| format!("{verb} was not cut off everywhere"))?;
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
    let [first, second] = undisturbed.calls.each_ref().map(|calls| cuts(calls));
    let round = |number| [&first, &second].map(|cuts| cuts.get(number).cloned());
    (0..first.len().max(second.len())).map(round).collect()
}

/// One call of each verb that comes every time.
fn any(undisturbed: &Undisturbed, random: &mut StdRng) -> Round {
    undisturbed.calls.each_ref().map(|calls| {
        let certain: Vec<_> = cuts(calls).into_iter().filter(|cut| cut.call.is_certain()).collect();
        certain.choose(random).cloned()
    })
}

/// Before and after each of the calls.
fn cuts(calls: &[Call]) -> Vec<Cut> {
    let both = |call: &Call| [false, true].map(|is_delivered| Cut { call: call.clone(), is_delivered });
    calls.iter().flat_map(both).collect()
}

/// Runs rounds on one lane; returns where the operator lived on in each verb, since the call did not come.
async fn disturb<'r>(
    lane: &mut Lane<'_>,
    pair: [Verb; 2],
    ends: &[String; 2],
    rounds: impl Iterator<Item = &'r Round>,
) -> anyhow::Result<[Vec<&'r Cut>; 2]> {
    let mut missed = [Vec::new(), Vec::new()];
    for round in rounds {
        for (index, verb) in pair.into_iter().enumerate() {
            let cut = round[index].as_ref();
            let started = Instant::now();
            let planned = cut.map_or("undisturbed".into(), |cut| format!("cut off {cut}"));
            let has_died = lane.disturbed(verb, cut, &ends[index]).await;
            let has_died = has_died.with_context(|| format!("{verb}, {planned}"))?;
            missed[index].extend(cut.filter(|_| !has_died));
            // A full run takes long: whoever waits sees that it gets on.
            let ended = if has_died { "died" } else { "lived on" };
            announce(&format!("{:6.1} s  {verb}, {planned}: {ended}", started.elapsed().as_secs_f64()));
        }
    }
    Ok(missed)
}

/// Only calls that do not come every time may have been missed.
fn check_missed(missed: &[&&Cut]) -> anyhow::Result<()> {
    let certain: Vec<_> =
        missed.iter().filter(|cut| cut.call.is_certain()).map(ToString::to_string).collect();
    ensure!(certain.is_empty(), "these calls did not come: {}", certain.join("; "));
    Ok(())
}
