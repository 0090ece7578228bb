//! Who is who: random histories, delivered shuffled and repeated by writers at once, end as one process would have it
//! that had handled every event alone and in order; and the seed's races no longer lose anything.
//!
//! Many histories share one run, told apart by a prefix of their ids. The oracle knows the rules from the module
//! `identity` of the ingest and nothing of its SQL.

mod compare;
mod history;
mod oracle;
mod race;
mod writer;

use std::path::Path;

use rand::{RngExt as _, seq::SliceRandom as _};

use self::history::{Dialect, Event, History};
use self::writer::Writer;
use super::Plan;
use crate::standalone::{Options, Programs, Standalone};

/// Writers that send at once.
const WRITERS: usize = 4;
/// Events of one request.
const EVENTS_PER_REQUEST: usize = 50;

pub(super) async fn run(folder: &Path, plan: Plan) -> anyhow::Result<String> {
    let mut weir = Standalone::start(Options::new(Programs::find()?, folder)).await?;
    let mut lines = Vec::new();
    for dialect in [Dialect::Seed, Dialect::Posthog] {
        lines.push(tell(&mut weir, plan, dialect).await?);
    }
    weir.stop().await?;
    Ok(lines.join("\n"))
}

async fn tell(weir: &mut Standalone, plan: Plan, dialect: Dialect) -> anyhow::Result<String> {
    let mut random = plan.random();
    let paths = if dialect == Dialect::Posthog { "true" } else { "false" };
    let mut urls = Vec::new();
    for _ in 0..2 {
        let process = weir.add(&[("WEIR_POSTHOG_PATHS", paths)])?;
        weir.wait_ready(process).await?;
        urls.push(weir.url(process));
    }
    let writer = Writer::new(urls, weir.key());
    let count = plan.pick(40, 1000);
    let histories: Vec<_> = (0..count).map(|number| History::random(dialect, number, &mut random)).collect();
    let mut deliveries: Vec<&Event> = histories.iter().flat_map(|history| &history.events).collect();
    let events = deliveries.len();
    let repeated: Vec<_> = deliveries.iter().copied().filter(|_| random.random_bool(0.4)).collect();
    deliveries.extend(repeated);
    deliveries.shuffle(&mut random);
    writer.send_all(&deliveries, EVENTS_PER_REQUEST, WRITERS).await?;
    let refused = compare::compare(weir, &histories).await?;
    let races = race::run(weir, &writer, dialect, plan.pick(3, 20)).await?;
    Ok(format!(
        "{dialect}: {count} histories of {events} events in {} deliveries by {WRITERS} writers agree with the oracle, \
         {refused} links refused; {races}",
        deliveries.len()
    ))
}
