//! What a server is given, put where its specification asks for it.

use crate::ledger::home::{Home, Part};
use crate::process::cookie::Cookie;
use crate::server::spec::ServerSpec;
use crate::session::spec::SessionSpec;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// What a variable of the server's says of its own home.
const VARIABLES: [(&str, Part); 8] = [
    ("HOME", Part::Home),
    ("XDG_CONFIG_HOME", Part::Config),
    ("XDG_RUNTIME_DIR", Part::Runtime),
    ("XDG_STATE_HOME", Part::State),
    ("XDG_DATA_HOME", Part::Data),
    ("XDG_CACHE_HOME", Part::Cache),
    ("TMPDIR", Part::Temporary),
    ("TMUX_TMPDIR", Part::Runtime),
];

const PLACEHOLDERS: [(&str, Part); 7] = [
    ("{home}", Part::Home),
    ("{config}", Part::Config),
    ("{runtime}", Part::Runtime),
    ("{state}", Part::State),
    ("{data}", Part::Data),
    ("{cache}", Part::Cache),
    ("{tmp}", Part::Temporary),
];

/// A port and a home.
pub(crate) struct Places<'a> {
    pub(crate) port: Option<u16>,
    pub(crate) home: &'a Home,
}

impl Places<'_> {
    /// The text with every placeholder replaced, once: what is put in is not looked at again.
    pub(crate) fn fill(&self, text: &OsStr) -> OsString {
        // What is no text has no placeholder.
        let Some(mut rest) = text.to_str() else { return text.to_owned() };
        let mut filled = OsString::new();
        while let Some(at) = rest.find('{') {
            filled.push(&rest[..at]);
            rest = &rest[at..];
            let (with, length) = self.at(rest).unwrap_or_else(|| ("{".into(), 1));
            filled.push(with);
            rest = &rest[length..];
        }
        filled.push(rest);
        filled
    }

    fn at(&self, text: &str) -> Option<(OsString, usize)> {
        if let Some(port) = self.port.filter(|_| text.starts_with("{port}")) {
            return Some((port.to_string().into(), "{port}".len()));
        }
        let (name, part) = PLACEHOLDERS.iter().find(|(name, _)| text.starts_with(name))?;
        Some((self.home.part(*part).into_os_string(), name.len()))
    }

    /// A socket's path, from its runtime directory.
    pub(crate) fn socket(&self, path: &str) -> PathBuf {
        self.home.part(Part::Runtime).join(self.fill(OsStr::new(path)))
    }

    /// As it is started: what a session and a server have in common.
    pub(crate) fn command(&self, spec: &ServerSpec, cookie: Cookie) -> SessionSpec {
        let mut command = SessionSpec::new(&spec.program).args(spec.arguments.iter().map(|text| self.fill(text)));
        let port = self.port.map(|port| port.to_string()).unwrap_or_default();
        for flag in &spec.port_flags {
            command = command.arg(flag).arg(&port);
        }
        if spec.clears_environment {
            command = command.env_clear();
        }
        for (name, part) in VARIABLES {
            command = command.env(name, self.home.part(part));
        }
        for name in &spec.port_variables {
            command = command.env(name, &port);
        }
        for (name, value) in &spec.environment {
            command = match value {
                Some(value) => command.env(name, self.fill(value)),
                None => command.env_remove(name),
            };
        }
        if let Some(directory) = spec.directory() {
            command = command.current_dir(directory);
        }
        command.with_cookie(cookie)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_replaced_once_and_the_rest_stays() {
        let cookie = Cookie::new();
        let home = Home::of(cookie);
        let places = Places { port: Some(81), home: &home };
        let shown = home.path().display();
        for (text, filled) in [
            ("{port}", "81".to_owned()),
            ("a{port}:{port}b", "a81:81b".into()),
            ("{home}/x", format!("{shown}/home/x")),
            ("{runtime}{tmp}", format!("{shown}/run{shown}/tmp")),
            (r#"{"port":{port},"x":{}}"#, r#"{"port":81,"x":{}}"#.into()),
            ("{{port}}", "{81}".into()),
            ("{por", "{por".into()),
            ("", String::new()),
        ] {
            assert_eq!(places.fill(OsStr::new(text)), OsString::from(filled));
        }
        assert_eq!(Places { port: None, home: &home }.fill(OsStr::new("{port}")), "{port}");
        assert_eq!(places.socket("s"), home.path().join("run/s"));
        assert_eq!(places.socket("{home}/.x"), home.path().join("home/.x"));
        assert_eq!(places.socket("/x"), PathBuf::from("/x"));
    }

    #[test]
    fn the_test_has_the_last_word_on_its_variables_but_for_the_cookie() {
        let cookie = Cookie::new();
        let home = Home::of(cookie);
        let spec = ServerSpec::new("x".into()).env("HOME", "/mine").port_variable("PORT").port_flag("-p").env_clear();
        let command = Places { port: Some(81), home: &home }.command(&spec.env("TMPDIR", "{tmp}/x"), cookie);
        let last = |wanted: &str| command.environment().filter(|(name, _)| *name == wanted).last().unwrap().1;
        assert_eq!(last("HOME"), Some(home.part(Part::Home).as_os_str()), "env_clear forgets what was said before");
        assert_eq!(last("PORT"), Some(OsStr::new("81")));
        assert_eq!(last("TMPDIR"), Some(home.path().join("tmp/x").as_os_str()));
        assert_eq!(last(&cookie.name()), Some(OsStr::new(&cookie.value())));
        assert!(command.env_is_cleared() && command.arguments() == ["-p", "81"]);
    }
}
