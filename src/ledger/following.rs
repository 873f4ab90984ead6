//! Reading a run's file along while others write into it.

use crate::error::Result;
use crate::ledger::file::RunFile;
use crate::ledger::message::LedgerAt;
use crate::ledger::record::{LONGEST_LINE, parse};
use crate::ledger::replay::Replayed;
use std::io;

/// The state of a run, by an opening of its file that is nobody else's.
pub(crate) struct Following {
    file: RunFile,
    /// Up to here all is read.
    position: u64,
    run: Option<Replayed>,
}

impl Following {
    /// # Errors
    ///
    /// If there is no such file, or it is not this user's own.
    pub(crate) fn of(at: &LedgerAt) -> Result<Self> {
        let (_, _, file) = at.open()?;
        Ok(Self { file, position: 0, run: None })
    }

    /// The run as of the last look.
    pub(crate) fn run(&self) -> Option<&Replayed> {
        self.run.as_ref()
    }

    /// Reads what was written since the last look, as far as its lines have ended. `None` as long as the file does not say whose it
    /// is.
    ///
    /// # Errors
    ///
    /// Those of read(2), and if the file says nothing that can be understood.
    pub(crate) fn look(&mut self) -> io::Result<Option<&Replayed>> {
        let bytes = self.file.read_from(self.position)?;
        // A line may be under way, if it is no longer than any: else all of it would be read again each time, for ever.
        let rest = bytes.len() - memchr::memrchr(b'\n', &bytes).map_or(0, |at| at + 1);
        let ended = if rest > LONGEST_LINE { bytes.len() } else { bytes.len() - rest };
        let parsed = parse(&bytes[..ended]);
        match &mut self.run {
            Some(run) => {
                run.damaged += parsed.damaged;
                parsed.records.into_iter().for_each(|record| run.apply(record));
            }
            // Its newline stands before each line, too.
            None if parsed.records.is_empty() && parsed.damaged == 0 => {}
            None => self.run = Some(Replayed::new(parsed).map_err(io::Error::other)?),
        }
        self.position += ended as u64;
        Ok(self.run.as_ref())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::ledger::recipe::Recipe;
    use crate::ledger::record::Record;
    use crate::ledger::record::tests::{announced, samples};
    use std::fs::File;
    use std::io::Write;

    #[test]
    fn what_is_written_later_is_read_and_a_line_under_way_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.ledger");
        let open = || File::options().read(true).append(true).create(true).open(&path).unwrap();
        let mut writer = open();
        let mut following = Following { file: RunFile::new(open()), position: 0, run: None };
        assert!(following.look().unwrap().is_none());
        let line = |record: &Record| record.to_line(b"\n").unwrap();
        writer.write_all(&line(&samples()[0])).unwrap();
        assert!(following.look().unwrap().unwrap().open.is_empty());

        let second = line(&announced(1));
        writer.write_all(&second[..20]).unwrap();
        assert!(following.look().unwrap().unwrap().open.is_empty());
        writer.write_all(&second[20..]).unwrap();
        let run = following.look().unwrap().unwrap();
        assert_eq!((run.open.len(), run.damaged), (1, 0));

        writer.write_all(b"torn\n").unwrap();
        writer.write_all(&line(&Record::Forgotten { id: 1 })).unwrap();
        let run = following.look().unwrap().unwrap();
        assert_eq!((run.open.len(), run.damaged), (0, 1));
        assert_eq!(following.look().unwrap().unwrap().damaged, 1);
    }

    #[test]
    fn a_line_without_an_end_is_not_read_again_each_time_and_hides_nothing_behind_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.ledger");
        let open = || File::options().read(true).append(true).create(true).open(&path).unwrap();
        let mut writer = open();
        let mut following = Following { file: RunFile::new(open()), position: 0, run: None };
        writer.write_all(&samples()[0].to_line(b"\n").unwrap()).unwrap();
        following.look().unwrap();
        for _ in 0..3 {
            writer.write_all(&[b'x'; 2 * LONGEST_LINE]).unwrap();
            assert!(following.look().unwrap().unwrap().damaged > 0);
            assert_eq!(following.position, writer.metadata().unwrap().len());
        }
        writer.write_all(&announced(1).to_line(b"\n").unwrap()).unwrap();
        assert_eq!(following.look().unwrap().unwrap().open.len(), 1);
    }

    #[test]
    fn a_file_of_no_run_is_an_error_each_time() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.ledger");
        std::fs::write(&path, "nothing of ours\n").unwrap();
        let mut following = Following { file: RunFile::new(File::open(&path).unwrap()), position: 0, run: None };
        assert!(following.look().is_err() && following.look().is_err());
    }

    #[test]
    fn a_run_with_one_session_alone_has_no_control_group() {
        let mut run = Replayed::new(crate::ledger::record::Parsed { records: samples(), damaged: 0 }).unwrap();
        run.apply(announced(1));
        assert!(run.cgroup.is_some() && run.open.len() > 1);
        let id = *run.open.iter().find(|(_, open)| !matches!(open.recipe, Recipe::Own)).unwrap().0;
        let one = run.only(id).unwrap();
        assert_eq!(one.open.keys().collect::<Vec<_>>(), [&id]);
        assert!(one.cgroup.is_none() && run.only(77).is_none());
        // The sample's server is not asked.
        assert!(one.open.values().all(|open| matches!(open.recipe, Recipe::Own)));
    }
}
