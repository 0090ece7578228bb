//! `cargo verify`: every gate and every test, one closing line of counts.
//!
//! The run has two halves, each a process of its own that ends, with all it started, when this one ends:
//! - the gates, on this machine, where the registries can be reached ([`SECTIONS`] up to the tests);
//! - the parts on a real API server and cluster, in a [`sandbox`].
//!
//! A failed check never stops a later one. Each half leaves its counts in a file, and only the outermost process adds up.

mod charts;
mod dependencies;
mod gates;
mod house;
mod place;
mod registry;
mod scenarios;
mod server;
mod tests;
mod yaml;

use std::{process::ExitCode, time::Instant};

use anyhow::Context;

use self::place::Place;
use crate::{
    cluster,
    report::{Report, announce},
    sandbox::{self, Sandbox},
    scenario, tool,
};

/// Arguments of `verify`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Run only this section; can be given more than once.
    #[arg(long, value_name = "NAME", value_parser = SECTIONS.map(|section| section.name))]
    only: Vec<String>,
    /// Print the sections in their order and run nothing.
    #[arg(long)]
    list: bool,
    /// Be the half that runs outside of the sandbox.
    #[arg(long, hide = true)]
    gates: bool,
}

/// A group of checks that are asked for together.
struct Section {
    name: &'static str,
    about: &'static str,
    run: Run,
}

impl Section {
    fn is_sandboxed(&self) -> bool {
        matches!(self.run, Run::InSandbox(_))
    }
}

/// Where the checks of a section run.
enum Run {
    /// Outside of the sandbox, with nothing to prepare.
    Gate(fn(&Place, &mut Report)),
    /// Outside of the sandbox.
    Here(fn(&Place, &mut Report) -> anyhow::Result<()>),
    /// In the sandbox, where nothing can be fetched.
    InSandbox(fn(&Place, &Sandbox, &mut Report) -> anyhow::Result<()>),
}

/// Cheap ones first.
const SECTIONS: [Section; 12] = [
    Section {
        name: "machine",
        about: "the machine has what everything needs",
        run: Run::Gate(gates::machine),
    },
    Section { name: "format", about: "code is formatted", run: Run::Gate(gates::format) },
    Section { name: "house", about: "the rules that can be read off the files", run: Run::Here(house::run) },
    Section { name: "tree", about: "who depends on whom", run: Run::Gate(dependencies::tree) },
    Section { name: "lint", about: "clippy without a warning", run: Run::Gate(gates::lint) },
    Section { name: "docs", about: "documentation without a warning", run: Run::Gate(gates::docs) },
    Section { name: "alone", about: "each shipped crate compiles alone", run: Run::Gate(gates::alone) },
    Section { name: "charts", about: "the charts, with real Helm", run: Run::Here(charts::run) },
    Section { name: "deny", about: "licences, bans and sources", run: Run::Here(dependencies::deny) },
    Section { name: "tests", about: "every test of the workspace", run: Run::Here(tests::run) },
    Section { name: "api", about: "what a real API server says", run: Run::InSandbox(server::run) },
    Section { name: "scenarios", about: "user stories on real parts", run: Run::InSandbox(scenarios::run) },
];

/// A third of a gate's share of a processor, when both want it.
const BACKGROUND_NICENESS: i32 = 5;

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { only, list, gates } = args;
    if list {
        for section in &SECTIONS {
            announce(&format!("{:<10} {}", section.name, section.about));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let place = Place::enter()?;
    if gates {
        return gates_half(&only, &place);
    }
    let (started, mut report) = (Instant::now(), Report::default());
    let mut outermost = false;
    let root = nix::unistd::geteuid().is_root();
    let ended = if root && chosen(&only).any(Section::is_sandboxed) {
        sandbox::run(
            &sandbox::Options::default(),
            || {
                outermost = true;
                outside(&only, &place, &mut report);
                // Done already, in the first half, unless it failed there.
                report.check("the sandbox has what it needs", || install(&only).map(|()| String::new()));
                Ok(())
            },
            |sandbox| sandbox_half(&only, &place, sandbox),
        )
    } else {
        outermost = true;
        outside(&only, &place, &mut report);
        Ok(ExitCode::SUCCESS)
    };
    if !outermost {
        // This is one of the processes of the sandbox, or its very start failed.
        return ended;
    }
    if let Err(error) = ended {
        report.check("the sandbox could be used", || Err::<String, _>(error));
    }
    add_up(&only, &place, false, &mut report);
    announce(&format!("verify took {:.0} s", started.elapsed().as_secs_f64()));
    place.leave();
    Ok(if report.close() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn chosen(only: &[String]) -> impl Iterator<Item = &'static Section> {
    SECTIONS.iter().filter(|section| only.is_empty() || only.iter().any(|name| name == section.name))
}

/// Starts the first half and adds its reports.
fn outside(only: &[String], place: &Place, report: &mut Report) {
    let ended = place.spawn_gates(only);
    if let Err(error) = ended {
        report.check("the gates could be run", || Err::<String, _>(error));
    }
    add_up(only, place, true, report);
}

fn gates_half(only: &[String], place: &Place) -> anyhow::Result<ExitCode> {
    let wanted = only.to_vec();
    // What is slow to install is installed while the first gates run; who needs it waits for it.
    let background = std::thread::spawn(move || {
        yield_to_gates();
        install(&wanted)
    });
    for section in chosen(only) {
        match section.run {
            Run::Gate(check) => run_section(section.name, place, |report| {
                check(place, report);
                Ok(())
            })?,
            Run::Here(check) => run_section(section.name, place, |report| check(place, report))?,
            Run::InSandbox(_) => true,
        };
    }
    // Whoever needs a tool asks for it again, and tells why it could not be had.
    drop(background.join());
    Ok(ExitCode::SUCCESS)
}

/// Lets the gates have the processors first: their tests keep to deadlines, a build does not.
///
/// On Linux it holds for this thread and for what it starts.
fn yield_to_gates() {
    // Where it is refused, the run is as right and may take longer.
    rustix::process::nice(BACKGROUND_NICENESS).ok();
}

/// Installs and builds what the chosen sections need, the sandbox included, where nothing can be fetched.
fn install(only: &[String]) -> anyhow::Result<()> {
    let wants = |names: &[&str]| chosen(only).any(|section| names.contains(&section.name));
    if wants(&["charts", "api", "scenarios"]) {
        tool::helm()?;
    }
    if wants(&["deny"]) {
        tool::cargo_deny()?;
    }
    if wants(&["tests"]) {
        tool::clickhouse_engine()?;
    }
    if wants(&["api", "scenarios"]) {
        cluster::install()?;
    }
    if wants(&["scenarios"]) {
        scenario::prepare(&[])?;
    }
    Ok(())
}

fn sandbox_half(only: &[String], place: &Place, sandbox: &Sandbox) -> anyhow::Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for section in chosen(only) {
        if let Run::InSandbox(check) = section.run {
            let held = run_section(section.name, place, |report| check(place, sandbox, report))?;
            if !held {
                // Keeps the folder of the run, with its logs.
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

/// Runs one section, leaves its report, and returns whether every check held.
fn run_section(
    name: &str,
    place: &Place,
    check: impl FnOnce(&mut Report) -> anyhow::Result<()>,
) -> anyhow::Result<bool> {
    announce(&format!("── {name}"));
    let mut report = Report::default();
    if let Err(error) = check(&mut report) {
        report.check(&format!("{name}: could be checked"), || Err::<String, _>(error));
    }
    place.leave_report(name, &report).with_context(|| format!("failed to keep the report of {name}"))?;
    Ok(report.counts().failed == 0)
}

/// Adds what the sections of one half left; one that left nothing did not end.
fn add_up(only: &[String], place: &Place, here: bool, report: &mut Report) {
    for section in chosen(only).filter(|section| section.is_sandboxed() != here) {
        match place.take_report(section.name) {
            Ok(found) => report.merge(found),
            Err(error) => {
                report.check(&format!("{} came to its end", section.name), || Err::<String, _>(error));
            }
        }
    }
}
