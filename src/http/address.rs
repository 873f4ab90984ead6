//! Whom a URL means: an address of this machine or another, never a name that somebody would have to be asked for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A URL of a server under test, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// As it is written in the URL, with the port if it has one.
    pub(crate) authority: String,
    /// Where to try, one after the other.
    pub(crate) places: Vec<SocketAddr>,
    /// From the first `/` on; `/` at least.
    pub(crate) path: String,
}

impl Address {
    /// # Errors
    ///
    /// The sentence that says what is wrong with it.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        // A URL may hold a secret after an `@`, so nothing that is refused is shown from there on.
        let shown = url.split('@').next_back().unwrap_or_default();
        let refused = |why: &str| format!("the URL {shown:.120?} {why}");
        if url.chars().any(|char| char.is_whitespace() || char.is_control()) {
            return Err(refused("contains white space or control characters"));
        }
        let Some(rest) = url.strip_prefix("http://") else {
            return Err(refused("does not begin with `http://`: only plain HTTP is spoken to a server under test"));
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err(refused("contains a user or a password: pass a secret by a header"));
        }
        if path.contains('#') {
            return Err(refused("has a part after `#`, which no server gets"));
        }
        let (host, port) = split(authority).ok_or_else(|| refused("has no host, or a port that is no number"))?;
        let addresses = match host.parse::<IpAddr>() {
            Ok(address) => vec![address],
            Err(_) if host.eq_ignore_ascii_case("localhost") => {
                vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]
            }
            Err(_) => {
                return Err(refused(
                    "names a host: the answer of a name service has no deadline; give its address, or `localhost`",
                ));
            }
        };
        let places = addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect();
        let path = if path.starts_with('/') { path.into() } else { format!("/{path}") };
        Ok(Self { authority: authority.into(), places, path })
    }

    /// True if it cannot leave this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        self.places.iter().all(|place| place.ip().is_loopback())
    }
}

/// Host, without the brackets of an address of version 6, and port.
fn split(authority: &str) -> Option<(&str, u16)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let port = match port {
        // `parse` takes a sign, which no port has.
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => port.parse().ok().filter(|port| *port > 0)?,
        Some(_) => return None,
        None => 80,
    };
    Some((host, port)).filter(|(host, _)| !host.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_localhost_are_taken_apart() {
        for (url, places, path) in [
            ("http://127.0.0.1:4020/api?x=1", &["127.0.0.1:4020"][..], "/api?x=1"),
            ("http://[::1]:80", &["[::1]:80"], "/"),
            ("http://LocalHost:1/", &["127.0.0.1:1", "[::1]:1"], "/"),
            ("http://127.0.0.1?x", &["127.0.0.1:80"], "/?x"),
        ] {
            let address = Address::parse(url).unwrap();
            let wanted: Vec<SocketAddr> = places.iter().map(|place| place.parse().unwrap()).collect();
            assert_eq!((address.places.as_slice(), address.path.as_str()), (wanted.as_slice(), path), "{url}");
            assert!(address.is_loopback());
        }
        assert!(!Address::parse("http://192.0.2.1:4020/").unwrap().is_loopback());
    }

    #[test]
    fn what_cannot_be_asked_is_refused_with_the_reason_and_without_a_secret() {
        for (url, why) in [
            ("https://127.0.0.1/", "plain HTTP"),
            ("127.0.0.1:80", "http://"),
            ("http://me:pass-word@127.0.0.1/", "a user or a password"),
            ("http://example.org/", "names a host"),
            ("http://127.0.0.1.example.org/", "names a host"),
            ("http://:80/", "no host"),
            ("http:///x", "no host"),
            ("http://127.0.0.1:+80/", "no number"),
            ("http://127.0.0.1:0/", "no number"),
            ("http://127.0.0.1:65536/", "no number"),
            ("http://[::1/", "no host"),
            ("http://[127.0.0.1]:80/", "no host"),
            ("http://127.0.0.1/a b", "white space"),
            ("http://127.0.0.1/\r\nX: y", "white space"),
            ("http://127.0.0.1/#x", "`#`"),
        ] {
            let said = Address::parse(url).unwrap_err();
            assert!(said.contains(why) && !said.contains("pass-word") && !said.contains('\n'), "{url}: {said}");
        }
    }
}
