//! What authorizes a request: a header with a secret that stands in a variable and nowhere else.

use crate::error::{BoxError, Error};

const SECRET: &str = "{secret}";

/// A header, `Name: value`, whose secret is read from a variable when it is needed.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Auth {
    pub(crate) header: Option<String>,
    pub(crate) variable: Option<String>,
}

impl Auth {
    /// # Errors
    ///
    /// If there is a header that does not leave its secret to a variable: it would be written down with each session.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match (&self.header, &self.variable) {
            (None, _) => Ok(()),
            // Not shown: the secret may stand in it.
            (Some(header), _) if !header.contains(SECRET) || !header.contains(':') => Err(Error::invalid(format!(
                "the header that authorizes a request must have the form `Name: value` with {SECRET} in place of the secret"
            ))),
            (Some(_), None) => Err(Error::invalid(format!(
                "the header that authorizes a request has a {SECRET}, and no variable was named that holds it"
            ))),
            (Some(_), Some(_)) => Ok(()),
        }
    }

    /// Name and value of the header, if there is one.
    ///
    /// # Errors
    ///
    /// That names the variable, and never shows what is in it.
    pub(crate) fn header(&self) -> Result<Option<(String, String)>, BoxError> {
        self.check()?;
        let (Some(header), Some(variable)) = (&self.header, &self.variable) else { return Ok(None) };
        let Some(secret) = crate::settings::secret(variable) else {
            let text = format!(
                "the variable {variable}, which holds the secret for the server, is not set in the test's environment: export it \
                 before `cargo test`, or write it below `[env]` in `.cargo/config.toml`"
            );
            return Err(Error::invalid(text).into());
        };
        let (name, value) = header.split_once(':').unwrap_or((header, ""));
        // The last step, so that nothing in the secret is replaced in turn.
        Ok(Some((name.trim().to_owned(), value.trim().replace(SECRET, secret.trim_end()))))
    }
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let header = self.header.as_ref().filter(|_| self.check().is_ok());
        f.debug_struct("Auth").field("header", &header).field("variable", &self.variable).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth(header: &str, variable: Option<&str>) -> Auth {
        Auth { header: Some(header.into()), variable: variable.map(String::from) }
    }

    #[test]
    fn the_secret_comes_from_its_variable_when_it_is_needed() {
        assert_eq!(Auth::default().header().unwrap(), None);
        // One that every test process has.
        let secret = std::env::var("PATH").unwrap();
        let header = auth("Authorization: Bearer {secret}", Some("PATH")).header().unwrap();
        assert_eq!(header, Some(("Authorization".into(), format!("Bearer {secret}"))));
    }

    #[test]
    fn what_is_missing_is_named() {
        for (auth, what) in [
            (auth("{secret}", Some("PATH")), "`Name: value`"),
            (auth("A: hush", Some("PATH")), "in place of the secret"),
            (auth("A: {secret}", None), "no variable was named"),
            (auth("A: {secret}", Some("NO_SUCH_VARIABLE_OF_OURS")), "NO_SUCH_VARIABLE_OF_OURS"),
        ] {
            let said = auth.header().unwrap_err().to_string();
            assert!(said.contains(what) && !format!("{said} {auth:?}").contains("hush"), "{said} {auth:?}");
        }
    }
}
