//! A session's environment for a server that takes none: said in the command, by env(1).

use crate::error::{BoxError, Error};
use crate::session::spec::SessionSpec;
use std::ffi::{OsStr, OsString};

/// The program with its arguments, as they are.
pub(crate) fn plain(spec: &SessionSpec) -> Vec<OsString> {
    std::iter::once(spec.program().to_owned()).chain(spec.arguments().iter().cloned()).collect()
}

/// The same for a place behind env(1), which takes every word with a `=` for a variable until one has none: such a program is
/// started by a shell that becomes it.
///
/// # Errors
///
/// If its name begins with `-`, too, so that the shell would take it for an option.
pub(crate) fn behind_env(spec: &SessionSpec) -> Result<Vec<OsString>, BoxError> {
    let program = spec.program().as_encoded_bytes();
    let mut command: Vec<OsString> = Vec::new();
    if program.contains(&b'=') {
        if program.starts_with(b"-") {
            let text = "the program's name begins with `-` and contains `=`, so that env(1) and sh(1) would take it for \
                        something else: give its path";
            return Err(Error::invalid(text).into());
        }
        command.extend(["/bin/sh", "-c", "exec \"$0\" \"$@\""].map(OsString::from));
    }
    command.extend(plain(spec));
    Ok(command)
}

/// True if the specification asks for what a list of variables to set cannot say.
pub(crate) fn removes_any(spec: &SessionSpec) -> bool {
    spec.env_is_cleared() || spec.environment().any(|(_, value)| value.is_none())
}

/// `env -u GONE NAME=value program …`: what the specification says of the environment, its cookie included.
///
/// # Errors
///
/// As [`behind_env`].
pub(crate) fn with_environment(spec: &SessionSpec) -> Result<Vec<OsString>, BoxError> {
    let program = behind_env(spec)?;
    let mut command: Vec<OsString> = vec!["env".into()];
    if spec.env_is_cleared() {
        command.push("-i".into());
    }
    let mut last: Vec<(&OsStr, Option<&OsStr>)> = Vec::new();
    for (name, value) in spec.environment() {
        // The last word on a variable holds.
        last.retain(|(other, _)| *other != name);
        last.push((name, value));
    }
    for (name, _) in last.iter().filter(|(_, value)| value.is_none()) {
        command.extend(["-u".into(), (*name).to_owned()]);
    }
    // What begins with a minus would be an option of env's own, `--split-string=` or `--chdir=` by the name of a variable.
    let is_option = |word: &OsStr| word.as_encoded_bytes().starts_with(b"-");
    if is_option(spec.program()) || last.iter().any(|(name, value)| value.is_some() && is_option(name)) {
        command.push("--".into());
    }
    command.extend(last.iter().filter_map(|(name, value)| Some([*name, (*value)?].join(OsStr::new("=")))));
    command.extend(program);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::cookie::Cookie;

    #[test]
    fn the_cookie_and_every_change_stand_before_the_program() {
        let cookie = Cookie::new();
        let spec = SessionSpec::new("sleep").arg("1 2").env("A", "1").env("B", "x").env("A", "2 3").env_remove("B");
        let spec = spec.env_remove("C").with_cookie(cookie);
        let words: Vec<String> =
            with_environment(&spec).unwrap().into_iter().map(|word| word.into_string().unwrap()).collect();
        assert_eq!(words, ["env", "-u", "B", "-u", "C", "A=2 3", &cookie.to_string(), "sleep", "1 2"]);
        assert!(removes_any(&spec));
        let cleared = with_environment(&SessionSpec::new("-x").env_clear()).unwrap();
        assert_eq!(cleared, ["env", "-i", "--", "-x"]);
    }

    /// As env(1) itself reads it.
    #[test]
    fn neither_a_variable_nor_a_program_is_an_option_of_envs_own() {
        if !crate::sys::IS_COMPLETE {
            return;
        }
        let spec = SessionSpec::new("sh").args(["-c", "pwd; env"]).env("--chdir", "/").env("-S", "false");
        let words = with_environment(&spec).unwrap();
        let place = std::env::temp_dir().canonicalize().unwrap();
        let output = std::process::Command::new(&words[0]).args(&words[1..]).current_dir(&place).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && text.lines().next() == place.to_str(), "{text}");
    }

    #[test]
    fn a_program_that_would_be_a_variable_is_started_all_the_same() {
        let refused = with_environment(&SessionSpec::new("-a=b")).unwrap_err();
        assert!(refused.to_string().contains("contains `=`"), "{refused}");
        if !crate::sys::IS_COMPLETE {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a=b c");
        std::fs::create_dir(&path).unwrap();
        let up = "/..".repeat(path.components().count());
        let program = format!("{}{up}/bin/echo", path.display());
        let spec = SessionSpec::new(&program).args(["$0 'x'", "y;"]).env("A", "1");
        let words = with_environment(&spec).unwrap();
        let output = std::process::Command::new(&words[0]).args(&words[1..]).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "$0 'x' y;\n");
    }
}
