//! Real, unmodified SDKs of many generations, in browsers and on servers: every event is a row once, and no SDK complains.
//!
//! Browsers visit pages of one site and send to another. What each SDK says it captured is compared with what a reader
//! of ClickHouse sees; the service and the browser both count requests, and none may be answered otherwise than well.

mod judge;
mod programs;
mod sender;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, TcpListener},
    path::Path,
};

use anyhow::{Context as _, ensure};

pub(super) use self::programs::Sdks;
use self::{judge::judge, sender::Sender};
use super::Plan;
use crate::standalone::{Options, Programs, Standalone};

/// What one SDK says about itself after it was used.
#[derive(Debug, serde::Deserialize)]
struct Said {
    captured: Vec<Captured>,
    complaints: Vec<String>,
}

/// An event as an SDK captured it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
struct Captured {
    event: String,
    uuid: Option<String>,
}

pub(super) async fn run(folder: &Path, plan: Plan) -> anyhow::Result<String> {
    let sdks = Sdks::find()?.lay_out(&folder.join("sdk"))?;
    let site_port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let mut weir = Standalone::start(Options::new(Programs::find()?, folder)).await?;
    let senders = sender::all(plan.pick(1, 8));
    let keys: Vec<&str> = senders.iter().map(|sender| sender.key.as_str()).collect();
    let origin = format!("http://localhost:{site_port}");
    weir.add(&[("PUBLIC_API_KEYS", &keys.join(",")), ("ALLOWED_ORIGINS", &origin)])?;
    weir.wait_ready(0).await?;

    let events = plan.pick(120, 2_000);
    let mut said = sdks.browse(&weir.url(0), site_port, &senders).await?;
    for sender in senders.iter().filter(|sender| !sender.is_browser()) {
        said.insert(sender.key.clone(), sdks.send(&weir.url(0), sender, events).await?);
    }
    let captured = judge_all(&weir, &senders, &said).await?;
    let answers = well_answered(&weir).await?;
    weir.stop().await?;
    Ok(format!("{} SDKs captured {captured} events, each is a row once; {answers}", senders.len()))
}

async fn judge_all(
    weir: &Standalone,
    senders: &[Sender],
    said: &BTreeMap<String, Said>,
) -> anyhow::Result<usize> {
    let mut captured = 0;
    let mut faults = Vec::new();
    for (index, sender) in senders.iter().enumerate() {
        let said = said.get(&sender.key).with_context(|| format!("{sender} told nothing"))?;
        captured += said.captured.len();
        // Keys from the environment are named by their place.
        match judge(weir, &format!("env-{}", index + 1), sender, said).await {
            Ok(()) => {}
            Err(fault) => faults.push(format!("{sender}: {fault:#}")),
        }
    }
    ensure!(faults.is_empty(), "{}", faults.join("\n      "));
    Ok(captured)
}

/// Checks the answers as the service counted them.
async fn well_answered(weir: &Standalone) -> anyhow::Result<String> {
    let answers = super::scrape::answers(&weir.admin_url(0)).await?;
    let total: u64 = answers.values().sum();
    ensure!(total > 0, "the service counted no request");
    let bad: BTreeMap<_, _> = answers.iter().filter(|(status, _)| !matches!(**status, 200 | 204)).collect();
    ensure!(bad.is_empty(), "the service also answered {bad:?}");
    Ok(format!("{total} requests, all answered well: {answers:?}"))
}
