//! The folder of a spool: who may use it, which segments there are, and how far they are confirmed.

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::fs::TryLockError;
use std::io;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::path::PathBuf;

/// Ending of a segment's name.
const SEGMENT: &str = "segment";
/// Ending of what is kept aside, because it could not be read.
const DAMAGED: &str = "damaged";

/// A place in the spool; places compare in the order in which rows came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Place {
    pub(super) segment: u64,
    pub(super) at: u64,
}

/// A folder that nobody else uses.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    confirmed: File,
    /// Held until the end of the process.
    _lock: File,
}

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system says no.
    #[error("failed to {act} {}", path.display())]
    Io {
        /// What was tried.
        act: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another process uses it.
    #[error("another process uses the spool {}", .0.display())]
    Taken(PathBuf),
}

impl Folder {
    /// Makes the folder when it is missing, and takes it.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let failed = |act| move |source| Error::Io { act, path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(failed("make the folder"))?;
        let file = |name: &str| {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).open(path.join(name))
        };
        let lock = file("lock").map_err(failed("open the lock in"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Taken(path.to_owned())),
            Err(TryLockError::Error(source)) => return Err(failed("lock")(source)),
        }
        let confirmed = file("confirmed").map_err(failed("open the mark in"))?;
        Ok(Self { path: path.to_owned(), confirmed, _lock: lock })
    }

    /// Number and bytes of each segment, in order.
    pub(super) fn segments(&self) -> io::Result<Vec<(u64, u64)>> {
        segments(&self.path)
    }

    pub(super) fn path_of(&self, segment: u64) -> PathBuf {
        self.path.join(name(segment))
    }

    /// Makes a segment that outlives a crash from now on.
    pub(super) fn create(&self, segment: u64, head: &[u8]) -> io::Result<File> {
        let path = self.path_of(segment);
        let mut file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        let made = file.write_all(head).and_then(|()| file.sync_all()).and_then(|()| self.sync());
        if made.is_err() {
            // A file without a head says nothing to anybody; it could not be made again under its name.
            drop(fs::remove_file(&path));
        }
        made.map(|()| file)
    }

    pub(super) fn remove(&self, segment: u64) -> io::Result<()> {
        fs::remove_file(self.path_of(segment))
    }

    /// Keeps a whole segment aside.
    pub(super) fn set_aside(&self, segment: u64) -> io::Result<()> {
        fs::rename(self.path_of(segment), self.path_of(segment).with_extension(DAMAGED))?;
        self.sync()
    }

    /// A file for a damaged stretch.
    pub(super) fn aside(&self, place: Place) -> io::Result<File> {
        let name = format!("{:016x}-{}.{DAMAGED}", place.segment, place.at);
        File::create(self.path.join(name))
    }

    /// The place up to which everything is in ClickHouse; the beginning when that is not known.
    pub(super) fn confirmed(&self) -> Place {
        read_confirmed(&self.confirmed)
    }

    /// Remembers such a place. A power failure may forget it, which only repeats inserts that change nothing.
    pub(super) fn confirm(&self, place: Place) -> io::Result<()> {
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&place.segment.to_le_bytes());
        bytes[8..16].copy_from_slice(&place.at.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes[..16]);
        bytes[16..].copy_from_slice(&checksum.to_le_bytes());
        self.confirmed.write_all_at(&bytes, 0)
    }

    /// Makes new and changed names outlive a crash.
    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

/// Tries whether records could be kept in the folder, without taking it from who uses it.
pub(crate) fn try_out(path: &Path) -> Result<(), Error> {
    let failed = |act| move |source| Error::Io { act, path: path.to_owned(), source };
    fs::create_dir_all(path).map_err(failed("make the folder"))?;
    let trial = path.join("check");
    let tried =
        File::create(&trial).and_then(|mut file| file.write_all(b"check").and_then(|()| file.sync_all()));
    // It would be in nobody's way.
    drop(fs::remove_file(&trial));
    tried.map_err(failed("write and sync in"))
}

/// What a folder holds, for somebody who only looks.
#[derive(Debug)]
pub(super) struct Glance {
    pub(super) segments: Vec<(u64, u64)>,
    pub(super) confirmed: Place,
    pub(super) damaged: usize,
}

/// Looks at a folder without taking it.
pub(super) fn glance(path: &Path) -> io::Result<Glance> {
    let names: Vec<_> = fs::read_dir(path)?.collect::<Result<_, _>>()?;
    let is_damaged = |entry: &&fs::DirEntry| entry.path().extension().is_some_and(|ending| ending == DAMAGED);
    let damaged = names.iter().filter(is_damaged).count();
    let confirmed = File::open(path.join("confirmed")).map_or(Place::default(), |file| read_confirmed(&file));
    Ok(Glance { segments: segments(path)?, confirmed, damaged })
}

/// Path of a segment in a folder that is only looked at.
pub(super) fn segment_in(path: &Path, segment: u64) -> PathBuf {
    path.join(name(segment))
}

fn name(segment: u64) -> String {
    format!("{segment:016x}.{SEGMENT}")
}

fn segments(path: &Path) -> io::Result<Vec<(u64, u64)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(SEGMENT)?.strip_suffix('.'));
        if let Some(number) = number.and_then(|number| u64::from_str_radix(number, 16).ok()) {
            found.push((number, entry.metadata()?.len()));
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn read_confirmed(file: &File) -> Place {
    let mut bytes = [0; 20];
    let is_whole = file.read_exact_at(&mut bytes, 0).is_ok()
        && crc32c::crc32c(&bytes[..16]).to_le_bytes() == bytes[16..];
    let number = |range: std::ops::Range<usize>| {
        u64::from_le_bytes(bytes[range].try_into().expect("a range of eight bytes"))
    };
    if is_whole { Place { segment: number(0..8), at: number(8..16) } } else { Place::default() }
}
