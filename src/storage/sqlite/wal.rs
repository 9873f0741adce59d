//! The files of the database before SQLite opens them: is the end whole, is anything cut off?
//!
//! SQLite drops a commit at the end of the write-ahead log that is not whole and says nothing, and finds a
//! database file that was cut off only when it needs what is missing. Format: <https://sqlite.org/walformat.html>.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use super::schema::FILE;
use super::trouble::Trouble;

/// The size of the write-ahead log's header, in bytes.
const HEADER: usize = 32;
/// The size of a frame's header, in bytes; a page follows.
const FRAME: usize = 24;
/// As much of a frame's header as is needed to know whether it belongs to this log, in bytes.
const SALTED: usize = 16;
/// The first bytes of a log; the last bit says in which byte order its checksums are made.
const MAGIC: u32 = 0x377f_0682;
/// The size of the database file's header, in bytes.
const DATABASE_HEADER: usize = 100;
/// The page around this byte is never written; SQLite locks it.
const LOCKED_BYTE: u64 = 0x4000_0000;

/// Looks at the database in `dir`, which nobody else writes. Gives how many bytes at the end of its
/// write-ahead log belong to a commit that is not whole, if any.
pub(super) fn examine(dir: &Path) -> Result<Option<u64>, Trouble> {
    let unreadable = |error: io::Error| Trouble::engine(format!("`{FILE}`: {error}"));
    let mut database = File::open(dir.join(FILE)).map_err(unreadable)?;
    let length = database.metadata().map_err(unreadable)?.len();
    let mut header = Vec::with_capacity(DATABASE_HEADER);
    let limit = DATABASE_HEADER as u64;
    (&mut database).take(limit).read_to_end(&mut header).map_err(unreadable)?;
    let log = match File::open(dir.join(format!("{FILE}-wal"))) {
        Ok(file) => Log::read(file).map_err(unreadable)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Log::default(),
        Err(error) => return Err(unreadable(error)),
    };
    let missing = match &log.committed {
        Some(committed) => committed.missing(length),
        None => missing_by_header(&header, length),
    };
    if missing > 0 {
        let what = format!(
            "`{FILE}` is cut off, {missing} of its pages are missing; restore a backup of the data directory"
        );
        return Err(Trouble::corrupt(what));
    }
    Ok((log.torn > 0).then_some(log.torn))
}

/// How many pages a database file of `length` lacks by its own header.
fn missing_by_header(header: &[u8], length: u64) -> u64 {
    if length == 0 {
        return 0;
    }
    if header.len() < DATABASE_HEADER {
        return 1;
    }
    let page_size = match header.get(16..18) {
        Some([0, 1]) => 65_536,
        Some([high, low]) => u64::from(u16::from_be_bytes([*high, *low])),
        Some(_) | None => 0,
    };
    // The count is valid only if it was written by whoever changed the file last.
    if page_size == 0 || number(header, 24) != number(header, 92) {
        return 0;
    }
    u64::from(number(header, 28)).saturating_sub(length / page_size)
}

/// What the write-ahead log holds.
#[derive(Debug, Default)]
struct Log {
    committed: Option<Committed>,
    /// How many bytes follow the last commit and belong to this log.
    torn: u64,
}

/// The database as the last commit in the log left it.
#[derive(Debug)]
struct Committed {
    page_size: u64,
    /// How many pages the database has.
    pages: u64,
    /// Which of them are in the log.
    logged: HashSet<u64>,
}

impl Committed {
    /// How many pages are neither in a database file of `length` nor in the log.
    fn missing(&self, length: u64) -> u64 {
        let locked = LOCKED_BYTE / self.page_size + 1;
        let first = length / self.page_size + 1;
        let lacks = |page: &u64| *page != locked && !self.logged.contains(page);
        u64::try_from((first..=self.pages).filter(lacks).count()).unwrap_or(u64::MAX)
    }
}

impl Log {
    fn read(file: File) -> io::Result<Self> {
        let mut file = BufReader::with_capacity(1 << 16, file);
        let mut header = Vec::with_capacity(HEADER);
        (&mut file).take(HEADER as u64).read_to_end(&mut header)?;
        let whole = header.len() == HEADER && number(&header, 0) & !1 == MAGIC;
        let mut sum = Checksum { big_endian: number(&header, 0) & 1 == 1, state: (0, 0) };
        sum.add(header.get(..24).unwrap_or_default());
        if !whole || sum.state != (number(&header, 24), number(&header, 28)) {
            // Without a header no frame counts.
            let rest = io::copy(&mut file, &mut io::sink())?;
            return Ok(Self { committed: None, torn: header.len() as u64 + rest });
        }
        let salts = header.get(16..24).unwrap_or_default().to_vec();
        let page_size = u64::from(number(&header, 8));
        let mut log = Self::default();
        let (mut frame, mut since) = (Vec::new(), Vec::new());
        loop {
            frame.clear();
            (&mut file).take(FRAME as u64 + page_size).read_to_end(&mut frame)?;
            let foreign = frame.len() >= SALTED && frame.get(8..SALTED) != Some(salts.as_slice());
            if frame.is_empty() || foreign {
                return Ok(log);
            }
            log.torn += frame.len() as u64;
            sum.add(frame.get(..8).unwrap_or_default());
            sum.add(frame.get(FRAME..).unwrap_or_default());
            let whole = frame.len() as u64 == FRAME as u64 + page_size;
            if !whole || sum.state != (number(&frame, 16), number(&frame, 20)) {
                return Ok(log);
            }
            since.push(u64::from(number(&frame, 0)));
            let pages = u64::from(number(&frame, 4));
            if pages > 0 {
                let mut logged = log.committed.map(|before| before.logged).unwrap_or_default();
                logged.extend(since.drain(..));
                log = Self { committed: Some(Committed { page_size, pages, logged }), torn: 0 };
            }
        }
    }
}

/// The running checksum of a write-ahead log.
struct Checksum {
    big_endian: bool,
    state: (u32, u32),
}

impl Checksum {
    fn add(&mut self, bytes: &[u8]) {
        let (words, _) = bytes.as_chunks::<4>();
        let (pairs, _) = words.as_chunks::<2>();
        for [first, second] in pairs {
            self.state.0 = self.state.0.wrapping_add(self.word(*first)).wrapping_add(self.state.1);
            self.state.1 = self.state.1.wrapping_add(self.word(*second)).wrapping_add(self.state.0);
        }
    }

    const fn word(&self, bytes: [u8; 4]) -> u32 {
        if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }
}

/// The big-endian number at `place`; zero where there is none.
fn number(bytes: &[u8], place: usize) -> u32 {
    bytes
        .get(place..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |word| u32::from_be_bytes(*word))
}
