//! What `run` and `record` share: signals, and the loop that drains the probes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use super::Failure;
use crate::base::Timestamp;

/// Requests of the outside, set by signals.
#[derive(Default)]
pub(super) struct Wishes {
    /// SIGINT or SIGTERM.
    stop: AtomicBool,
    /// SIGHUP: read the rules again.
    reload: AtomicBool,
}

impl Wishes {
    /// Installs the handlers before anything is attached, so that no signal can leave probes behind.
    pub(super) fn listen() -> Result<Arc<Wishes>, Failure> {
        let wishes = Arc::new(Wishes::default());
        let heard = wishes.clone();
        watch(move |signal| {
            let wish = if signal == SignalKind::hangup() { &heard.reload } else { &heard.stop };
            wish.store(true, Ordering::Release);
            true
        })?;
        Ok(wishes)
    }

    pub(super) fn stop(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// True once per request.
    pub(super) fn reload(&self) -> bool {
        self.reload.swap(false, Ordering::AcqRel)
    }
}

/// Runs `last` when a signal asks the program to end, or its terminal is gone: whatever the main thread is doing.
pub(super) fn on_end(last: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    let mut last = Some(last);
    watch(move |_| {
        last.take().into_iter().for_each(|last| last());
        false
    })
}

/// Hands SIGINT, SIGTERM and SIGHUP to `heard`, on a thread of its own, until it has heard enough.
fn watch(mut heard: impl FnMut(SignalKind) -> bool + Send + 'static) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().context("the signal runtime")?;
    let inside = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut hangup = signal(SignalKind::hangup()).context("SIGHUP")?;
    drop(inside);
    let wait = move || {
        runtime.block_on(async {
            loop {
                let came = tokio::select! {
                    _ = interrupt.recv() => SignalKind::interrupt(),
                    _ = terminate.recv() => SignalKind::terminate(),
                    _ = hangup.recv() => SignalKind::hangup(),
                };
                if !heard(came) {
                    return;
                }
            }
        });
    };
    std::thread::Builder::new().name("signals".into()).spawn(wait).context("the signal thread")?;
    Ok(())
}

/// The shell's clock, in the unit of observations.
pub(super) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
