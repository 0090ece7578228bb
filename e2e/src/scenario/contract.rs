//! The seed's contract on the real process, with PostHog's paths switched off: each item of its list by name.
//!
//! C6 to C10 and E6 are identity, whose corner cases the tests of `ingest` have; E2 to E4 need a browser and are part of
//! the story `sdks`, E8 as well. What the seed did not test is in `ingest-faults`, `hostile` and the tests of `ingest`.

mod check;
mod items;

use std::path::Path;

use anyhow::{Context as _, ensure};

use self::check::Checker;
use super::Plan;
use crate::standalone::{Options, Programs, Standalone};

pub(super) async fn run(folder: &Path, _plan: Plan) -> anyhow::Result<String> {
    let mut weir = Standalone::start(Options::new(Programs::find()?, folder)).await?;
    let environment = [
        ("WEIR_POSTHOG_PATHS", "false"),
        ("PUBLIC_API_KEYS", "first-key,second-key"),
        ("ALLOWED_ORIGINS", check::ORIGIN),
    ];
    let keyed = weir.add(&environment)?;
    let keyless = weir.add(&[environment[0], ("PUBLIC_API_KEYS", ""), environment[2]])?;
    for service in [keyed, keyless] {
        weir.wait_ready(service).await?;
    }
    let checker = Checker::new(weir.url(keyed), weir.url(keyless), weir.admin_url(keyed));
    let mut faults = Vec::new();
    let mut items: Vec<&str> = Vec::new();
    let requests = items::requests()?;
    let count = requests.len();
    for request in requests {
        items.push(request.item);
        if let Err(fault) = checker.check(&weir, &request).await {
            faults.push(format!("{}: {fault:#}", request.item));
        }
    }
    for (item, sql, expected) in items::questions() {
        items.push(item);
        let found = weir.query(&sql).await.with_context(|| item.to_owned())?;
        if found.trim() != expected {
            faults.push(format!("{item}: `{}`, not `{expected}`: {sql}", found.trim()));
        }
    }
    ensure!(faults.is_empty(), "\n      {}", faults.join("\n      "));
    weir.stop().await?;
    items.dedup();
    Ok(format!("{count} requests for {}", items.join(", ")))
}
