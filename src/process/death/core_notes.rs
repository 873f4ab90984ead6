//! The notes of a Linux core file (elf(5), core(5)): which process, which signal, which command, which files it had mapped. From
//! bytes; of a core the part up to its notes is enough, the first some hundred kilobytes.
//!
//! # Limits
//!
//! 64-bit cores, of either byte order. What a note lacks is `None`.

use std::fmt;

const HEADER: usize = 64;
const PT_NOTE: u32 = 4;
const NT_PRSTATUS: u32 = 1;
const NT_PRPSINFO: u32 = 3;
const NT_SIGINFO: u32 = 0x5349_4749;
const NT_FILE: u32 = 0x4649_4c45;
/// `PN_XNUM`: there are more segments than the header can say, and the first section says how many.
const MANY: u64 = 0xffff;

/// What the notes of a core file say.
///
/// ```no_run
/// # use termleash::process::death::core_notes::CoreNotes;
/// let notes = CoreNotes::parse(&std::fs::read("core")?)?;
/// println!("{notes}");                                 // `node server.js` (pid 4711) ended by signal 6
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CoreNotes {
    /// The process's number, by NT_PRPSINFO.
    pub pid: Option<u32>,
    /// The thread that started it, or the process that has adopted it since: the kernel writes a thread's number.
    pub parent: Option<u32>,
    /// Its program's name, at most 15 bytes.
    pub name: Option<String>,
    /// The beginning of its command line, at most 79 bytes.
    pub command: Option<String>,
    /// By which signal it ended.
    pub signal: Option<i32>,
    /// Where that came from, by NT_SIGINFO.
    pub origin: Option<Origin>,
    /// The numbers of its threads; the first is the one that got the signal.
    pub threads: Vec<u32>,
    /// The files that it had mapped, in the order of their addresses.
    pub files: Vec<MappedFile>,
}

/// Where a signal came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// `kill`, `tgkill` (as `abort` does) or `sigqueue`: a process sent it.
    Process {
        /// `si_code`.
        code: i32,
        /// Which; 0 for one of another PID namespace.
        pid: u32,
        /// Its user.
        user: u32,
    },
    /// The processor, at this address.
    Fault {
        /// `si_code`.
        code: i32,
        /// `si_addr`.
        address: u64,
    },
    /// The kernel, for another reason.
    Kernel {
        /// `si_code`.
        code: i32,
    },
}

/// A part of a file in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MappedFile {
    /// Its path at that time.
    pub path: String,
    /// Its first address.
    pub start: u64,
    /// The address behind its last.
    pub end: u64,
    /// Where in the file it begins, in bytes.
    pub offset: u64,
}

/// Why something is no core file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoCore(&'static str);

impl fmt::Display for NoCore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it is no core file that can be read: {}", self.0)
    }
}

impl std::error::Error for NoCore {}

impl CoreNotes {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// If it is no 64-bit ELF core, or ends before its notes do.
    pub fn parse(core: &[u8]) -> Result<Self, NoCore> {
        let ident = core.get(..HEADER).ok_or(NoCore("it is too short"))?;
        let is_big = match (&ident[..4], ident[4], ident[5]) {
            (b"\x7fELF", 2, 1) => false,
            (b"\x7fELF", 2, 2) => true,
            (b"\x7fELF", 1, _) => return Err(NoCore("it is a 32-bit one")),
            _ => return Err(NoCore("it does not begin as an ELF file")),
        };
        let file = Bytes { bytes: core, is_big };
        const ET_CORE: u64 = 4;
        if file.number(16, 2) != Some(ET_CORE) {
            return Err(NoCore("it is an ELF file of another kind"));
        }
        let cut = NoCore("it is cut before the end of its notes");
        let (table, size) = (file.at(32).ok_or(cut.clone())?, file.number(54, 2).ok_or(cut.clone())?);
        let mut count = file.number(56, 2).ok_or(cut.clone())?;
        if count == MANY {
            let section = file.at(40).ok_or(cut.clone())?;
            count = section.checked_add(44).and_then(|at| file.number(at, 4)).ok_or(cut.clone())?;
        }
        let mut notes = Self::default();
        for index in 0..count {
            let at =
                usize::try_from(index.checked_mul(size).ok_or(cut.clone())?).ok().and_then(|at| at.checked_add(table));
            // A table that is cut has no notes behind the cut that could be read.
            let Some(segment) = at.and_then(|at| file.part(at, 56)) else { return Err(cut) };
            if segment.number(0, 4) == Some(u64::from(PT_NOTE)) {
                let part = segment.at(8).zip(segment.at(32)).and_then(|(at, length)| file.part(at, length));
                notes.add(&part.ok_or(cut.clone())?);
            }
        }
        Ok(notes)
    }

    /// The notes of a segment, as far as they can be told apart.
    fn add(&mut self, segment: &Bytes<'_>) {
        let mut at = 0;
        while let Some(next) = self.add_one(segment, at) {
            at = next;
        }
    }

    fn add_one(&mut self, segment: &Bytes<'_>, at: usize) -> Option<usize> {
        let head = segment.part(at, 12)?;
        let (name, length) = (head.number(0, 4)?, head.number(4, 4)?);
        let kind = u32::try_from(head.number(8, 4)?).ok()?;
        let padded = |length: u64| usize::try_from(length.checked_next_multiple_of(4)?).ok();
        let start = at.checked_add(12)?.checked_add(padded(name)?)?;
        let note = segment.part(start, usize::try_from(length).ok()?)?;
        if segment.part(at + 12, usize::try_from(name).ok()?)?.text() == "CORE" {
            match kind {
                NT_PRSTATUS => self.threads.extend(note.number(32, 4).and_then(small::<u32>)),
                NT_PRPSINFO => {
                    self.pid = note.number(24, 4).and_then(small);
                    self.parent = note.number(28, 4).and_then(small);
                    self.name = note.part(40, 16).map(|name| name.text());
                    self.command = note.part(56, 80).map(|command| command.text().trim_end().to_owned());
                }
                NT_SIGINFO => self.origin = origin(&note),
                NT_FILE => self.files = files(&note).unwrap_or_default(),
                _ => {}
            }
            if matches!(kind, NT_PRSTATUS | NT_SIGINFO) && self.signal.is_none() {
                // `pr_info.si_signo` and `si_signo`: both begin with it.
                self.signal = note.number(0, 4).and_then(small);
            }
        }
        start.checked_add(padded(length)?)
    }
}

/// siginfo_t of most processors: number, errno, code, padding, and from 16 on what the code says.
fn origin(note: &Bytes<'_>) -> Option<Origin> {
    /// `SI_USER`, `SI_QUEUE`, `SI_TKILL`.
    const SENT: [i32; 3] = [0, -1, -6];
    const FAULTS: [u64; 5] = [4, 5, 7, 8, 11];
    let signal = note.number(0, 4)?;
    let code = u32::try_from(note.number(8, 4)?).ok()?.cast_signed();
    let is_fault = (1..0x80).contains(&code) && FAULTS.contains(&signal);
    Some(if SENT.contains(&code) {
        Origin::Process { code, pid: note.number(16, 4).and_then(small)?, user: note.number(20, 4).and_then(small)? }
    } else if is_fault {
        Origin::Fault { code, address: note.number(16, 8)? }
    } else {
        Origin::Kernel { code }
    })
}

/// How many, the unit of the offsets, then start, end and offset of each, then their names.
fn files(note: &Bytes<'_>) -> Option<Vec<MappedFile>> {
    const ENTRY: usize = 24;
    let (count, unit) = (note.at(0)?, note.number(8, 8)?);
    let names_at = count.checked_mul(ENTRY)?.checked_add(16)?;
    let mut names = note.bytes.get(names_at..)?.split(|byte| *byte == 0);
    let mut files = Vec::new();
    for index in 0..count {
        let at = 16 + index * ENTRY;
        files.push(MappedFile {
            path: String::from_utf8_lossy(names.next()?).into_owned(),
            start: note.number(at, 8)?,
            end: note.number(at + 8, 8)?,
            offset: note.number(at + 16, 8)?.saturating_mul(unit),
        });
    }
    Some(files)
}

fn small<T: TryFrom<u64>>(number: u64) -> Option<T> {
    T::try_from(number).ok()
}

/// A part of a file, in its byte order.
struct Bytes<'a> {
    bytes: &'a [u8],
    is_big: bool,
}

impl<'a> Bytes<'a> {
    fn part(&self, at: usize, length: usize) -> Option<Bytes<'a>> {
        Some(Bytes { bytes: self.bytes.get(at..at.checked_add(length)?)?, is_big: self.is_big })
    }

    /// Of at most eight bytes.
    fn number(&self, at: usize, size: usize) -> Option<u64> {
        let bytes = self.bytes.get(at..at.checked_add(size)?)?;
        let add = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        Some(if self.is_big { bytes.iter().fold(0, add) } else { bytes.iter().rev().fold(0, add) })
    }

    /// A place or a length in the file.
    fn at(&self, at: usize) -> Option<usize> {
        usize::try_from(self.number(at, 8)?).ok()
    }

    /// Up to its first zero.
    fn text(&self) -> String {
        let end = self.bytes.iter().position(|byte| *byte == 0).unwrap_or(self.bytes.len());
        String::from_utf8_lossy(&self.bytes[..end]).into_owned()
    }
}

impl fmt::Display for CoreNotes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let command = self.command.as_ref().or(self.name.as_ref());
        write!(f, "`{}`", command.map_or("?", String::as_str))?;
        self.pid.iter().try_for_each(|pid| write!(f, " (pid {pid})"))?;
        match self.signal {
            Some(signal) => write!(f, " ended by signal {signal}")?,
            None => f.write_str(" ended by a signal that is not told")?,
        }
        match self.origin {
            Some(Origin::Process { pid, .. }) if Some(pid) == self.pid => f.write_str(", sent by itself"),
            Some(Origin::Process { pid, user, .. }) => write!(f, ", sent by pid {pid} of user {user}"),
            Some(Origin::Fault { address, .. }) => write!(f, ", at address {address:#x}"),
            Some(Origin::Kernel { .. }) => f.write_str(", sent by the kernel"),
            None => Ok(()),
        }
    }
}
