//! The file of one run: records are appended, one write each; its lock says that somebody watches, its time until when.

use crate::ledger::record::Record;
use crate::process::identity::Ticks;
use crate::sys;
use parking_lot::Mutex;
use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::time::SystemTime;

/// More is not read: a run that wrote so much is not one of ours, or ran for months.
const MAX_SIZE: u64 = 64 << 20;

/// A file description of its own, in append mode.
pub(crate) struct RunFile {
    /// Reads move the position that all users of the description share; writes go to the end wherever it is.
    file: Mutex<File>,
}

impl RunFile {
    pub(crate) fn new(file: File) -> Self {
        Self { file: Mutex::new(file) }
    }

    /// One write of the whole line and no sync: a machine that lost power has no survivors to look for.
    ///
    /// # Errors
    ///
    /// Those of write(2), such as a full disk; `WriteZero` if only a part of the line found room. Neither leaves a record:
    /// what there is of the line costs no other one.
    pub(crate) fn append(&self, record: &Record) -> io::Result<()> {
        // Begun by a newline of its own: whoever wrote before may have found no room for the last one, and to look at the
        // file's end each time takes longer than the write. An empty line is nothing to a reader.
        let line = record.to_line(b"\n")?;
        let mut file = self.file.lock();
        loop {
            return match file.write(&line) {
                Ok(written) if written == line.len() => Ok(()),
                Ok(written) => {
                    let what = format!("{written} of the record's {} bytes found room", line.len());
                    Err(io::Error::new(io::ErrorKind::WriteZero, what))
                }
                // Nothing was written.
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
                Err(cause) => Err(cause),
            };
        }
    }

    /// # Errors
    ///
    /// `FileTooLarge` if there is more than any run writes: its newest records decide, so a part would not do.
    pub(crate) fn read_all(&self) -> io::Result<Vec<u8>> {
        let mut file = self.file.lock();
        file.seek(SeekFrom::Start(0))?;
        let mut bytes = Vec::new();
        (&mut *file).take(MAX_SIZE + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_SIZE { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
    }

    /// What stands behind this position: at most [`MAX_SIZE`] at once.
    pub(crate) fn read_from(&self, position: u64) -> io::Result<Vec<u8>> {
        let mut file = self.file.lock();
        file.seek(SeekFrom::Start(position))?;
        let mut bytes = Vec::new();
        (&mut *file).take(MAX_SIZE).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Takes the lock for as long as this description is open, and answers whether it could.
    ///
    /// The lock belongs to the description, so only another one, of an opening of its own, is kept out; and a child that
    /// was forked without exec has the same description, and keeps the lock after its parent's death (measured). A test
    /// process may have such children. That is why its keeper holds the lock, which has none.
    pub(crate) fn try_lock(&self) -> io::Result<bool> {
        match self.file.lock().try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(cause)) => Err(cause),
        }
    }

    /// Takes the lock as soon as whoever has it gives it back: for its maker, until it says whose it is.
    pub(crate) fn lock(&self) -> io::Result<()> {
        self.file.lock().lock()
    }

    /// Also for a child that was forked without exec meanwhile.
    pub(crate) fn unlock(&self) -> io::Result<()> {
        self.file.lock().unlock()
    }

    /// True as long as it does not say whose it is: its maker is about to write that, or was killed before.
    pub(crate) fn is_empty(&self) -> io::Result<bool> {
        Ok(self.file.lock().metadata()?.len() == 0)
    }

    /// Notes in the file's time that the run is watched now.
    pub(crate) fn touch(&self) -> io::Result<()> {
        // By our own clock: on a network's disk the server's may be another.
        self.file.lock().set_modified(SystemTime::now())
    }

    /// When somebody last touched or appended, rounded up by a tick at most. To be asked before a sweep appends anything.
    ///
    /// The file's time is of the wall clock, which may have been set since: set back, it says at most "now"; set forward, it
    /// says too early, which makes a sweep more careful.
    pub(crate) fn last_alive(&self) -> io::Result<Ticks> {
        let modified = self.file.lock().metadata()?.modified()?;
        // A time yet to come is now.
        let ago = SystemTime::now().duration_since(modified).unwrap_or_default();
        let ago = Ticks::try_from(ago.as_millis() / 10).unwrap_or(Ticks::MAX);
        Ok(sys::now_ticks().saturating_sub(ago))
    }

    pub(crate) fn number(&self) -> i32 {
        sys::number_of(&self.file.lock())
    }

    /// False once it is removed from its directory: what is appended then, nobody will read.
    pub(crate) fn is_still_linked(&self) -> io::Result<bool> {
        Ok(sys::file_facts(&self.file.lock())?.links > 0)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::ledger::record::tests::{announced, samples};
    use crate::ledger::record::{Parsed, parse};
    use std::path::Path;
    use std::time::Duration;

    fn open(path: &Path) -> RunFile {
        RunFile::new(File::options().read(true).append(true).create(true).open(path).unwrap())
    }

    fn with_file<T>(test: impl FnOnce(&Path, RunFile) -> T) -> T {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.ledger");
        test(&path, open(&path))
    }

    #[test]
    fn what_is_appended_is_read_by_any_opening() {
        with_file(|path, file| {
            for record in samples() {
                file.append(&record).unwrap();
                // Reading moves the position, and the next append goes to the end all the same.
                file.read_all().unwrap();
            }
            let all = samples().len();
            for read in [file.read_all().unwrap(), open(path).read_all().unwrap()] {
                let parsed = parse(&read);
                assert_eq!((parsed.records.len(), parsed.damaged), (all, 0));
            }
        });
    }

    #[test]
    fn a_torn_line_of_anybodys_costs_the_next_record_nothing() {
        with_file(|path, file| {
            let (first, second, third) = (announced(1), announced(2), announced(3));
            file.append(&first).unwrap();
            let mut other = File::options().append(true).open(path).unwrap();
            other.write_all(&second.to_line(b"").unwrap()[..20]).unwrap();
            file.append(&third).unwrap();
            file.append(&second).unwrap();
            let parsed = parse(&file.read_all().unwrap());
            assert_eq!(parsed, Parsed { records: vec![first, third, second], damaged: 1 });
        });
    }

    #[test]
    fn records_of_many_threads_and_openings_stay_whole() {
        with_file(|path, file| {
            std::thread::scope(|scope| {
                for thread in 0..4 {
                    let file = &file;
                    scope.spawn(move || {
                        let own = open(path);
                        for id in 0..50 {
                            let file = if id % 2 == 0 { file } else { &own };
                            file.append(&announced(thread * 50 + id)).unwrap();
                        }
                    });
                }
            });
            let parsed = parse(&file.read_all().unwrap());
            assert_eq!((parsed.records.len(), parsed.damaged), (200, 0));
        });
    }

    #[test]
    fn a_full_disk_is_an_error() {
        let file = open(Path::new("/dev/full"));
        assert_eq!(file.append(&announced(1)).unwrap_err().kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn a_file_that_nobody_could_have_written_is_not_read() {
        with_file(|_, file| {
            file.file.lock().set_len(MAX_SIZE).unwrap();
            assert_eq!(file.read_all().unwrap().len() as u64, MAX_SIZE);
            file.file.lock().set_len(MAX_SIZE + 1).unwrap();
            assert_eq!(file.read_all().unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        });
    }

    #[test]
    fn the_lock_keeps_other_openings_out_until_it_is_dropped() {
        with_file(|path, first| {
            let second = open(path);
            assert!(first.try_lock().unwrap() && first.try_lock().unwrap());
            assert!(!second.try_lock().unwrap());
            drop(first);
            assert!(second.try_lock().unwrap());
        });
    }

    #[test]
    fn its_time_says_when_somebody_was_alive() {
        with_file(|_, file| {
            let set = |time| file.file.lock().set_modified(time).unwrap();
            let start = sys::now_ticks();
            set(SystemTime::now() - Duration::from_secs(2));
            let then = file.last_alive().unwrap();
            file.touch().unwrap();
            let (touched, now) = (file.last_alive().unwrap(), sys::now_ticks());
            // However long a busy machine has taken for this.
            let took = now - start;
            assert!((start..=now).contains(&touched), "{touched} is not {start} to {now}");
            assert!((198..=202 + took).contains(&(touched - then)), "{then} is not two seconds before {touched}");
            set(SystemTime::now() + Duration::from_secs(3600));
            let before = sys::now_ticks();
            let (later, now) = (file.last_alive().unwrap(), sys::now_ticks());
            assert!((before..=now).contains(&later), "{later} is not {before} to {now}");
            set(SystemTime::UNIX_EPOCH);
            assert_eq!(file.last_alive().unwrap(), 0);
        });
    }

    #[test]
    fn a_removed_file_knows_it() {
        with_file(|path, file| {
            assert!(file.is_still_linked().unwrap());
            std::fs::remove_file(path).unwrap();
            assert!(!file.is_still_linked().unwrap());
            file.append(&announced(1)).unwrap();
        });
    }
}
