//! Owns the engine: restarts it when access entities changed and when it died.

use std::{sync::Arc, time::Duration};

use tokio::sync::oneshot;

use super::{access::AccessError, core::Core, engine::Engine, store};

/// How long the first of concurrent access statements waits for the others, renewed with each. Some tenths of a restart: who
/// was answered by the one before has time to send the next statement, and needs no restart of its own.
const GATHER: Duration = Duration::from_millis(50);
const MAX_GATHERED: u32 = 20;
/// How long queries have to end after they were killed.
const KILLED: Duration = Duration::from_secs(5);

/// Runs until told to stop; the engine is gone when this returns.
pub(crate) async fn supervise(core: Arc<Core>, engine: Engine, mut stop: oneshot::Receiver<()>) {
    let mut engine = engine;
    loop {
        tokio::select! {
            () = core.book.changed.notified() => engine = renew(&core, engine).await,
            status = engine.ended() => engine = replace_dead(&core, &status).await,
            // A dropped handle means the same as a told one.
            _ = &mut stop => break,
        }
    }
    core.gate.begin_drain();
    drain(&core).await;
    if let Err(error) = engine.stop().await {
        super::say(format_args!("{error:#}"));
    }
}

/// Brings the next state to the engine: one restart for everything that was recorded until the gate was shut.
async fn renew(core: &Core, engine: Engine) -> Engine {
    // Told of something that the restart before this one has brought along already.
    if !core.book.is_behind() {
        return engine;
    }
    for _ in 0..MAX_GATHERED {
        if tokio::time::timeout(GATHER, core.book.changed.notified()).await.is_err() {
            break;
        }
    }
    core.gate.begin_drain();
    keep(core);
    let drained = drain(core);
    tokio::pin!(drained);
    loop {
        tokio::select! {
            () = &mut drained => break,
            // Asked before the gate was shut, recorded after.
            () = core.book.changed.notified() => keep(core),
        }
    }
    keep(core);
    restart(core, engine).await
}

/// Puts the next state on disk, and answers who needs no more than that.
fn keep(core: &Core) {
    match store::save(&core.options, &core.book.next()) {
        Ok(()) => core.book.answer_removals(),
        Err(error) => super::say(format_args!("{error:#}")),
    }
}

/// Waits for requests in flight; those that outlast the bound lose their queries.
async fn drain(core: &Core) {
    if !core.gate.drained(core.options.drain).await {
        super::say(format_args!(
            "requests are still in flight after {:?}: killing their queries",
            core.options.drain
        ));
        if let Err(error) = core.kill_queries().await {
            super::say(format_args!("{error:#}"));
        }
        core.gate.drained(KILLED).await;
    }
    core.gate.close(KILLED).await;
}

async fn restart(core: &Core, engine: Engine) -> Engine {
    core.count_restart();
    if let Err(error) = engine.stop().await {
        super::say(format_args!("{error:#}"));
    }
    let next = core.book.next();
    let started = match store::write_users(&core.options, &next) {
        Ok(()) => Engine::start(&core.options).await,
        Err(error) => Err(error),
    };
    match started {
        Ok(engine) => {
            core.book.turn();
            core.publish(&engine);
            engine
        }
        Err(error) => {
            super::say(format_args!("the access change is taken back: {error:#}"));
            core.book.turn_back(&AccessError::Engine(format!("{error:#}")));
            keep(core);
            start_again(core).await
        }
    }
}

async fn replace_dead(core: &Core, status: &str) -> Engine {
    super::say(format_args!("the engine ended by itself ({status}): starting it again"));
    // Requests in flight are failing now; those that come later wait.
    core.gate.close(Duration::ZERO).await;
    start_again(core).await
}

/// Starts an engine with the current state, however often it takes.
async fn start_again(core: &Core) -> Engine {
    loop {
        let written = store::write_users(&core.options, &core.book.current());
        let started = match written {
            Ok(()) => Engine::start(&core.options).await,
            Err(error) => Err(error),
        };
        match started {
            Ok(engine) => {
                core.publish(&engine);
                return engine;
            }
            Err(error) => super::say(format_args!("the engine did not start: {error:#}")),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
