//! Where this machine's core files go, by `/proc/sys/kernel/core_pattern` (core(5)). Nothing else is looked at.

use std::fs;

/// Who gets a core file, and under which name.
///
/// ```
/// # use termleash::process::death::CorePattern;
/// let pattern = CorePattern::new("core.%p");
/// assert_eq!(pattern.pointer(Some(4711), 6), "its core file is `core.4711` in the directory that it ran in");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorePattern {
    text: String,
}

impl CorePattern {
    /// That of this machine; `None` where there is none to read.
    pub fn read() -> Option<Self> {
        fs::read_to_string("/proc/sys/kernel/core_pattern").ok().map(|text| Self::new(&text))
    }

    /// Of the file's content.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self { text: text.trim_end_matches('\n').to_owned() }
    }

    /// Where to look for the core of the process that had this number and died by this signal, as the kernel says that it has
    /// written or handed on one. What is not known of a name stands there as `*`.
    pub fn pointer(&self, pid: Option<u32>, signal: i32) -> String {
        if let Some(handler) = self.text.strip_prefix('|') {
            let program = handler.split_whitespace().next().unwrap_or("a program");
            let number = pid.map(|pid| format!(" {pid}")).unwrap_or_default();
            let advice = match program.rsplit('/').next() {
                Some("systemd-coredump") => format!("; see `coredumpctl info{number}`"),
                Some("apport") => "; see /var/crash".to_owned(),
                _ => String::new(),
            };
            return format!("its core was handed to `{program}`{advice}");
        }
        let name = self.expanded(pid, signal);
        // `core_uses_pid` may put the number behind it.
        let may_have_number = if self.text.contains("%p") { "" } else { ", perhaps with its number behind it" };
        match name.starts_with('/') {
            true => format!("its core file is `{name}`{may_have_number}"),
            false => format!("its core file is `{name}` in the directory that it ran in{may_have_number}"),
        }
    }

    fn expanded(&self, pid: Option<u32>, signal: i32) -> String {
        let mut name = String::new();
        let mut rest = self.text.chars();
        while let Some(char) = rest.next() {
            match (char, if char == '%' { rest.next() } else { None }) {
                ('%', Some('%')) => name.push('%'),
                ('%', Some('p')) => name += &pid.map_or_else(|| "*".to_owned(), |pid| pid.to_string()),
                ('%', Some('s')) => name += &signal.to_string(),
                ('%', Some(_)) => name.push('*'),
                // One at the end is left out.
                ('%', None) => {}
                (char, _) => name.push(char),
            }
        }
        if name.is_empty() { "core".to_owned() } else { name }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_what_is_known_and_stars_for_the_rest() {
        let pointer = |text: &str| CorePattern::new(text).pointer(Some(7), 6);
        assert_eq!(pointer("/cores/%e-%p-%s-%%%"), "its core file is `/cores/*-7-6-%`");
        let beside = "its core file is `core` in the directory that it ran in, perhaps with its number behind it";
        assert_eq!((pointer("core\n"), pointer("")), (beside.to_owned(), beside.to_owned()));
        assert_eq!(CorePattern::new("/c/%p").pointer(None, 6), "its core file is `/c/*`");
    }

    #[test]
    fn a_handler_is_named_with_where_it_keeps_them() {
        let pointer = |text: &str| CorePattern::new(text).pointer(Some(7), 6);
        let systemd = pointer("|/usr/lib/systemd/systemd-coredump %P %u %g %s %t %c %h");
        assert_eq!(systemd, "its core was handed to `/usr/lib/systemd/systemd-coredump`; see `coredumpctl info 7`");
        assert_eq!(
            pointer("|/usr/share/apport/apport -p%p"),
            "its core was handed to `/usr/share/apport/apport`; see /var/crash"
        );
        assert_eq!(pointer("|"), "its core was handed to `a program`");
    }
}
