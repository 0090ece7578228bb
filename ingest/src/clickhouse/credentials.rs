//! The login that calls are made with: given by value, or read from a folder and read again when it changed.
//!
//! The folder is a mounted Secret with the files `username` and `password`. It is looked at once a second while calls
//! are made, and at once when ClickHouse refuses the login.

use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::ArcSwap;
use secrecy::ExposeSecret as _;
use secrecy::SecretString;
use tokio::time::Instant;

use super::error::SetupError;
use crate::reload::Reloads;
use crate::settings::ClickhouseSettings;

/// How long a pair that was read from the folder is used without another look.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A user and its password.
#[derive(Debug)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: SecretString,
}

/// The current login and where it comes from.
#[derive(Debug)]
pub(super) struct Credentials {
    maybe_folder: Option<PathBuf>,
    current: ArcSwap<Login>,
    opened: Instant,
    next_look_ms: AtomicU64,
    reloads: Reloads,
}

impl Credentials {
    /// Takes the login from the folder when one is set, else by value.
    pub(super) fn open(settings: &ClickhouseSettings) -> Result<Self, SetupError> {
        let login = match &settings.credentials_dir {
            Some(folder) => {
                read(folder).map_err(|source| SetupError::Credentials { folder: folder.clone(), source })?
            }
            None => Login { user: settings.user.clone(), password: settings.password.clone() },
        };
        Ok(Self {
            maybe_folder: settings.credentials_dir.clone(),
            current: ArcSwap::from_pointee(login),
            opened: Instant::now(),
            next_look_ms: AtomicU64::new(millis(LOOK_EVERY)),
            reloads: Reloads::default(),
        })
    }

    pub(super) fn reloads(&self) -> &Reloads {
        &self.reloads
    }

    pub(super) fn current(&self) -> Arc<Login> {
        self.current.load_full()
    }

    /// Reads the folder again when the last look is old enough.
    pub(super) async fn refresh_when_due(&self) {
        let now = millis(self.opened.elapsed());
        let due = self.next_look_ms.load(Ordering::Relaxed);
        let taken =
            |next| self.next_look_ms.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed);
        if self.maybe_folder.is_some() && now >= due && taken(now + millis(LOOK_EVERY)).is_ok() {
            self.refresh().await;
        }
    }

    /// Reads the folder again; says whether the login is now another one. An unreadable folder changes nothing.
    pub(super) async fn refresh(&self) -> bool {
        let Some(folder) = &self.maybe_folder else { return false };
        let (user, password) = tokio::join!(
            tokio::fs::read_to_string(folder.join("username")),
            tokio::fs::read_to_string(folder.join("password"))
        );
        let (Ok(user), Ok(password)) = (user, password) else {
            self.reloads.failed("read");
            return false;
        };
        let login = login(&user, &password);
        let current = self.current.load();
        let same =
            current.user == login.user && current.password.expose_secret() == login.password.expose_secret();
        if same {
            self.reloads.unchanged();
        } else {
            tracing::info!(clickhouse.user = login.user, "read new ClickHouse credentials");
            self.current.store(Arc::new(login));
            self.reloads.taken();
        }
        !same
    }
}

fn read(folder: &Path) -> io::Result<Login> {
    let read = |file| std::fs::read_to_string(folder.join(file));
    Ok(login(&read("username")?, &read("password")?))
}

/// Editors and `echo` end a file with a line break that belongs to neither.
fn login(user: &str, password: &str) -> Login {
    let line = |text: &str| text.trim_end_matches(['\r', '\n']).to_owned();
    Login { user: line(user), password: line(password).into() }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
