//! The directory that a server is given: made for it alone, and removed with it by whoever cleans up after its test.
//!
//! ```text
//!  <tmp>/tl-<16 digits of the cookie>/  home  config  run  state  data  cache  tmp  .termleash
//! ```
//! The last is a file with the cookie: it proves the directory ours to somebody whose directory for temporary files is another.
//! Its name is short, since a socket's path must stay below 108 bytes; and it says whose it is, so that a record that was
//! altered leads to no other directory.

use crate::error::{Error, Result};
use crate::process::cookie::Cookie;
use crate::sys;
use serde::{Deserialize, Serialize};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

const PREFIX: &str = "tl-";
/// A directory for temporary files with a longer path leaves no room for the path of a socket.
const LONGEST_PLACE: usize = 12;
/// What says in a home whose it is.
const MARK: &str = ".termleash";
/// What is used then, if it is there.
const SHORT_PLACE: &str = "/tmp";

/// Where it is; it is there from [`create`](Self::create) to [`remove`](Self::remove).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Home {
    #[serde(with = "crate::ledger::path")]
    path: PathBuf,
}

/// The directories in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Home,
    Config,
    Runtime,
    State,
    Data,
    Cache,
    Temporary,
}

impl Part {
    pub(crate) const ALL: [Self; 7] =
        [Self::Home, Self::Config, Self::Runtime, Self::State, Self::Data, Self::Cache, Self::Temporary];

    fn name(self) -> &'static str {
        match self {
            Self::Home => "home",
            Self::Config => "config",
            Self::Runtime => "run",
            Self::State => "state",
            Self::Data => "data",
            Self::Cache => "cache",
            Self::Temporary => "tmp",
        }
    }
}

impl Home {
    /// Where that of the server with this cookie will be.
    pub(crate) fn of(cookie: Cookie) -> Self {
        Self { path: place().join(name_of(cookie)) }
    }

    /// Makes it, for this user alone.
    pub(crate) fn create(&self, cookie: Cookie) -> Result<()> {
        let make = || {
            sys::create_directory(&self.path)?;
            let mut mark = sys::create_in(&sys::open_directory(&self.path)?, MARK)?;
            mark.write_all(cookie.to_string().as_bytes())?;
            Part::ALL.iter().try_for_each(|part| sys::create_directory(&self.part(*part)))
        };
        make().map_err(|cause| {
            let what = format!("make the server's directory `{}`", self.path.display());
            Error::os(what, "make room there, or set TMPDIR to a directory that this user can write to", cause)
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn part(&self, part: Part) -> PathBuf {
        self.path.join(part.name())
    }

    /// Removes it with everything in it, also if it is gone already. A record says where it is, and anybody may have altered
    /// that: it goes only if it has the name of this cookie, is a directory and no link to one, belongs to us, and either stands in
    /// our directory for temporary files or is proven to be a home by its mark: whoever made it may have had another such
    /// directory.
    ///
    /// # Errors
    ///
    /// [`Error::is_refused`] if it is not what it must be; else what could not be removed.
    pub(crate) fn remove(&self, cookie: Option<Cookie>) -> Result<()> {
        let shown = self.path.display();
        let refused = |why: &str| Err(Error::refused(format!("the directory `{shown}` was not removed: {why}")));
        let (Some(cookie), Some(parent)) = (cookie, self.path.parent()) else {
            return refused("nothing says whose it is");
        };
        let name = name_of(cookie);
        if self.path != parent.join(&name) {
            return refused("its name is not that of its server");
        }
        if parent != place() && parent != Path::new(SHORT_PLACE) && !self.is_marked(cookie, parent) {
            return if sys::facts_of_link(&self.path).is_err_and(|cause| cause.kind() == io::ErrorKind::NotFound) {
                Ok(())
            } else {
                refused(
                    "it does not stand in the directory for temporary files, and nothing in it proves that it is a home",
                )
            };
        }
        match sys::remove_tree(parent, &name, sys::own_uid()) {
            Err(cause) => match cause.kind() {
                io::ErrorKind::NotFound => Ok(()),
                io::ErrorKind::NotADirectory => refused("it is a link, or a file"),
                io::ErrorKind::PermissionDenied if !self.is_ours() => refused("it belongs to another user"),
                _ => Err(Error::os(format!("remove the server's directory `{shown}`"), "remove it by hand", cause)),
            },
            Ok(()) => Ok(()),
        }
    }

    /// True if it has what [`create`](Self::create) puts there, and nobody but us and root can put something else in its place.
    fn is_marked(&self, cookie: Cookie, parent: &Path) -> bool {
        const STICKY: u32 = 0o1000;
        const WRITTEN_BY_OTHERS: u32 = 0o022;
        let look = || -> io::Result<bool> {
            let around = sys::facts_of(parent)?;
            let is_safe = around.permissions & WRITTEN_BY_OTHERS == 0 || around.permissions & STICKY != 0;
            let mut mark = sys::open_in(&sys::open_directory(&self.path)?, MARK)?;
            let facts = sys::file_facts(&mark)?;
            let is_ours = facts.is_regular && facts.links == 1 && facts.owner == sys::own_uid();
            if !is_safe || !is_ours || ![sys::own_uid(), 0].contains(&around.owner) {
                return Ok(false);
            }
            let wanted = cookie.to_string();
            let mut found = vec![0; wanted.len() + 1];
            let length = mark.read(&mut found)?;
            Ok(found[..length] == *wanted.as_bytes())
        };
        look().unwrap_or(false)
    }

    fn is_ours(&self) -> bool {
        let found = sys::open_directory(&self.path).and_then(|found| sys::file_facts(&found));
        found.is_ok_and(|found| found.owner == sys::own_uid())
    }

    #[cfg(test)]
    pub(crate) fn sample() -> Self {
        Self { path: "/tmp/tl-0123456789abcdef".into() }
    }
}

/// The directory for temporary files, unless its path is too long.
pub(crate) fn place() -> PathBuf {
    let usual = std::env::temp_dir();
    let usual = std::path::absolute(&usual).unwrap_or(usual);
    let usual: PathBuf = usual.components().collect();
    let is_short = usual.as_os_str().len() <= LONGEST_PLACE;
    if is_short || !Path::new(SHORT_PLACE).is_dir() { usual } else { SHORT_PLACE.into() }
}

fn name_of(cookie: Cookie) -> String {
    format!("{PREFIX}{}", digits_of(cookie))
}

/// What a home is named after: the 16 hexadecimal digits of its server's cookie.
pub(crate) fn digits_of(cookie: Cookie) -> String {
    cookie.name().rsplit('_').next().unwrap_or_default().to_owned()
}

/// The same of a directory that may be somebody's home, by its name.
pub(crate) fn digits_in(name: &str) -> Option<&str> {
    let digits = name.strip_prefix(PREFIX)?;
    (digits.len() == 16 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())).then_some(digits)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn it_is_made_for_us_alone_and_goes_with_what_is_in_it() {
        let cookie = Cookie::new();
        let home = Home::of(cookie);
        home.create(cookie).unwrap();
        let facts = sys::file_facts(&sys::open_directory(home.path()).unwrap()).unwrap();
        assert_eq!((facts.owner, facts.permissions), (sys::own_uid(), 0o700));
        // What VibeTunnel needs: 45 characters in a directory of its own, and at most 103 in all.
        assert!(home.part(Part::Home).join(".vibetunnel/control").as_os_str().len() + 45 < 103);
        fs::write(home.part(Part::State).join("file"), "x").unwrap();
        home.remove(Some(cookie)).unwrap();
        assert!(!home.path().exists());
        home.remove(Some(cookie)).unwrap();
    }

    #[test]
    fn what_an_altered_record_names_stays() {
        let (cookie, other) = (Cookie::new(), Cookie::new());
        let elsewhere = tempfile::tempdir().unwrap();
        let home = |path: PathBuf| Home { path };
        let of_other = Home::of(other);
        of_other.create(other).unwrap();
        let in_wrong_place = elsewhere.path().join(name_of(cookie));
        fs::create_dir(&in_wrong_place).unwrap();
        // That of another home.
        fs::write(in_wrong_place.join(MARK), other.to_string()).unwrap();
        let link = Home::of(cookie);
        std::os::unix::fs::symlink(&in_wrong_place, link.path()).unwrap();
        fs::write(in_wrong_place.join("file"), "x").unwrap();
        let paths = [
            of_other.path().to_owned(),
            in_wrong_place.clone(),
            link.path().to_owned(),
            link.path().join(".."),
            "/".into(),
            place(),
            in_wrong_place.join("file"),
        ];
        for path in paths {
            let error = home(path.clone()).remove(Some(cookie)).unwrap_err();
            assert!(error.is_refused(), "{}: {error}", path.display());
            assert!(home(path).remove(None).unwrap_err().is_refused());
        }
        assert!(in_wrong_place.join("file").exists() && of_other.path().exists());
        fs::remove_file(link.path()).unwrap();
        assert!(home(of_other.path().to_owned()).remove(Some(cookie)).unwrap_err().is_refused());
        of_other.remove(Some(other)).unwrap();
    }

    /// Whoever made it had another directory for temporary files than we have.
    #[test]
    fn one_that_stands_elsewhere_goes_if_its_mark_proves_what_it_is() {
        use std::os::unix::fs::PermissionsExt as _;
        let cookie = Cookie::new();
        let elsewhere = tempfile::tempdir().unwrap();
        let home = Home { path: elsewhere.path().join(name_of(cookie)) };
        home.remove(Some(cookie)).unwrap();
        home.create(cookie).unwrap();
        fs::write(home.part(Part::State).join("file"), "x").unwrap();
        let (mark, kept) = (home.path().join(MARK), elsewhere.path().join("kept"));
        let stays = |why: &str| {
            let error = home.remove(Some(cookie)).unwrap_err();
            assert!(error.is_refused() && error.to_string().contains("proves that it is a home"), "{why}: {error}");
            assert!(home.part(Part::State).join("file").exists(), "{why}");
        };
        // Whoever may write there may have put somebody's directory in its place.
        let permit = |mode: u32| fs::set_permissions(elsewhere.path(), fs::Permissions::from_mode(mode)).unwrap();
        permit(0o777);
        stays("others may write");
        permit(0o700);
        fs::rename(&mark, &kept).unwrap();
        stays("no mark");
        fs::hard_link(&kept, &mark).unwrap();
        stays("a mark with another name");
        fs::remove_file(&mark).unwrap();
        std::os::unix::fs::symlink(&kept, &mark).unwrap();
        stays("a link to a mark");
        fs::remove_file(&mark).unwrap();
        fs::write(&mark, format!("{cookie}0")).unwrap();
        stays("more than a mark");
        fs::remove_file(&mark).unwrap();
        fs::rename(&kept, &mark).unwrap();
        home.remove(Some(cookie)).unwrap();
        assert!(!home.path().exists());
    }

    #[test]
    fn what_belongs_to_another_user_stays_and_whose_it_is_is_said() {
        let cookie = Cookie::new();
        let home = Home::of(cookie);
        home.create(cookie).unwrap();
        if std::os::unix::fs::chown(home.path(), Some(65_534), None).is_err() {
            // Only root can give it away.
            return home.remove(Some(cookie)).unwrap();
        }
        let error = home.remove(Some(cookie)).unwrap_err();
        let is_there = home.path().exists();
        std::os::unix::fs::chown(home.path(), Some(sys::own_uid()), None).unwrap();
        home.remove(Some(cookie)).unwrap();
        assert!(is_there && error.is_refused() && error.to_string().contains("another user"), "{error}");
    }
}
