//! Real, unmodified SDKs of many generations, in browsers and on servers: every event is a row once, and no SDK complains.
//!
//! Browsers visit pages of one site and send to another. What each SDK says it captured is compared with what a reader
//! of ClickHouse sees; the service and the browser both count requests, and none may be answered otherwise than well.

mod browsers;
mod judge;
mod programs;
mod sender;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, TcpListener},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};

pub(super) use self::programs::Sdks;
use self::{browsers::Browsers, judge::judge, sender::Sender};
use super::Plan;
use crate::standalone::{Options, Programs, Standalone};

/// How long a beacon of a page that is gone may be on its way.
const BEACON: Duration = Duration::from_mins(1);

/// What one SDK says about itself after it was used.
#[derive(Debug, serde::Deserialize)]
struct Said {
    key: String,
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
    let keys: Vec<_> = senders.iter().flat_map(Sender::keys).collect();
    let origin = format!("http://localhost:{site_port}");
    weir.add(&[("PUBLIC_API_KEYS", &keys.join(",")), ("ALLOWED_ORIGINS", &origin)])?;
    weir.wait_ready(0).await?;

    let events = plan.pick(120, 2_000);
    let mut browsers = sdks.browse(&weir.url(0), site_port, &senders)?;
    // Both kinds at once would make the browsers late.
    browsers.said().await?;
    let mut sent = BTreeMap::new();
    for sender in senders.iter().filter(|sender| !sender.is_browser()) {
        let said = sdks.send(&weir.url(0), sender, events).await?;
        sent.insert(said.key.clone(), said);
    }
    let total = judge_all(&weir, &senders, &sent, &mut browsers).await?;
    browsers.close().await?;
    let answers = well_answered(&weir).await?;
    weir.stop().await?;
    Ok(format!("{} SDKs {total}; {answers}", senders.len()))
}

/// Judges each SDK until all is well with it, and sums up.
async fn judge_all(
    weir: &Standalone,
    senders: &[Sender],
    sent: &BTreeMap<String, Said>,
    browsers: &mut Browsers,
) -> anyhow::Result<String> {
    let (mut captured, mut again) = (0, 0);
    // Keys from the environment are named by their place.
    let mut open: Vec<_> = (1..).step_by(2).zip(senders).collect();
    let started = Instant::now();
    loop {
        let browsed = browsers.said().await?;
        let mut faults = Vec::new();
        for (place, sender) in std::mem::take(&mut open) {
            let mut used = sender.keys().into_iter().enumerate();
            let said = used.find_map(|(nth, key)| Some((nth, sent.get(&key).or_else(|| browsed.get(&key))?)));
            let (nth, said) = said.with_context(|| format!("{sender} told nothing"))?;
            match judge(weir, &format!("env-{}", place + nth), sender, said).await {
                Ok(()) => {
                    captured += said.captured.len();
                    again += nth;
                }
                Err(fault) => {
                    faults.push(format!("{sender}: {fault:#}"));
                    open.push((place, sender));
                }
            }
        }
        if open.is_empty() {
            return Ok(format!(
                "captured {captured} events, each is a row once ({again} visits made again, since the browser killed a page)"
            ));
        }
        if started.elapsed() >= BEACON {
            let answers = super::scrape::answers(&weir.admin_url(0)).await?;
            bail!("{}\n      the service answered {answers:?}", faults.join("\n      "));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
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
