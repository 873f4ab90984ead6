//! A program, as it is known among processes: by what is executed, not by a name.

use crate::sys::{self, FileFacts, ProcReader};
use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Programs that are told by their first argument what they run.
const INTERPRETERS: [&str; 13] =
    ["node", "nodejs", "bun", "deno", "python", "perl", "ruby", "php", "java", "sh", "bash", "dash", "zsh"];

/// A program, as it is known among processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// What is executed, as device and inode; `None` where any interpreter may run the script.
    executable: Option<(u64, u64)>,
    script: Option<Script>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Script {
    name: Vec<u8>,
    file: (u64, u64),
}

impl Wanted {
    /// A program's path, its name in `PATH`, or an interpreter with the script that it runs.
    pub(crate) fn find(text: &str) -> Result<Self, String> {
        if let Ok(found) = of_program(Path::new(text)) {
            return Ok(found);
        }
        let mut words = text.split_ascii_whitespace();
        let program = words.next().ok_or("no program was named")?;
        let path = in_path(program).ok_or_else(|| format!("there is no program `{program}`"))?;
        let mut found = of_program(&path)?;
        if found.script.is_none() && is_interpreter(&path) {
            let script = words.find(|word| !word.starts_with('-'));
            found.script = script.map(|script| script_of(Path::new(script))).transpose()?;
        }
        Ok(found)
    }

    pub(crate) fn is_run_by(&self, reader: &mut ProcReader, pid: u32) -> bool {
        if let Some(executable) = self.executable
            && reader.executable(pid).ok() != Some(executable)
        {
            return false;
        }
        let Some(script) = &self.script else { return true };
        let Ok(line) = reader.read(pid, "cmdline") else { return false };
        let argument = line.split(|byte| *byte == 0).skip(1).find(|word| !word.starts_with(b"-"));
        let Some(argument) = argument.filter(|word| name_of(word) == script.name) else { return false };
        let argument = argument.to_vec();
        let Ok(directory) = reader.target(pid, "cwd") else { return false };
        let path = path(&directory).join(path(&argument));
        sys::facts_of(&path).is_ok_and(|facts| identity(&facts) == script.file)
    }
}

fn of_program(program: &Path) -> Result<Wanted, String> {
    let facts = sys::facts_of(program).map_err(|cause| format!("`{}`: {cause}", program.display()))?;
    if !facts.is_regular {
        return Err(format!("`{}` is no program", program.display()));
    }
    let mut beginning = [0; 2];
    let is_script = std::fs::File::open(program).and_then(|mut file| file.read_exact(&mut beginning)).is_ok()
        && beginning == *b"#!";
    if is_script {
        return Ok(Wanted { executable: None, script: Some(script_of(program)?) });
    }
    Ok(Wanted { executable: Some(identity(&facts)), script: None })
}

fn script_of(script: &Path) -> Result<Script, String> {
    let facts = sys::facts_of(script).map_err(|cause| format!("`{}`: {cause}", script.display()))?;
    let name = script.file_name().unwrap_or_default().as_encoded_bytes().to_vec();
    Ok(Script { name, file: identity(&facts) })
}

fn identity(facts: &FileFacts) -> (u64, u64) {
    (facts.device, facts.inode)
}

fn is_interpreter(program: &Path) -> bool {
    let name = program.file_name().and_then(OsStr::to_str).unwrap_or_default();
    // `python3.12` is one, too.
    let name = name.trim_end_matches(|char: char| char.is_ascii_digit() || char == '.');
    INTERPRETERS.contains(&name)
}

fn in_path(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(program.into());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|path| path.is_file())
}

fn name_of(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
}

/// What is no text cannot be compared, and is found by nobody.
fn path(bytes: &[u8]) -> &Path {
    Path::new(std::str::from_utf8(bytes).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interpreter_is_told_by_its_name_without_its_version() {
        assert!(["/usr/bin/python3.12", "node", "/bin/bash"].iter().all(|name| is_interpreter(Path::new(name))));
        assert!(!["tmux", "node-gyp", "sshd", "3.12"].iter().any(|name| is_interpreter(Path::new(name))));
    }

    #[test]
    fn what_is_not_there_is_said() {
        assert!(Wanted::find("").is_err());
        let why = Wanted::find("no-such-program --port 1").unwrap_err();
        assert!(why.contains("`no-such-program`"), "{why}");
        let why = Wanted::find("/").unwrap_err();
        assert!(why.contains("is no program"), "{why}");
        // Not looked for in `PATH`.
        assert!(Wanted::find("src/lib.rs --port 1").is_ok() && Wanted::find("lib.rs --port 1").is_err());
    }

    #[cfg(all(test, target_os = "linux"))]
    #[test]
    fn a_script_is_known_by_its_file_whatever_runs_it() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("serve.sh");
        std::fs::write(&script, "#!/bin/sh\n").unwrap();
        let shown = script.to_str().unwrap();
        let (direct, by_shell) =
            (Wanted::find(shown).unwrap(), Wanted::find(&format!("sh -x {shown} --port 1")).unwrap());
        assert_eq!((direct.executable, &direct.script), (None, &by_shell.script));
        assert!(by_shell.executable.is_some() && by_shell.script.is_some());
        assert_eq!(Wanted::find("sleep 5").unwrap().script, None);
    }
}
