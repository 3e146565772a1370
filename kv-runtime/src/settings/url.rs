//! The address of a server.

use std::fmt;

/// A server's address, which may hold a password: it is shown without.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerUrl(String);

impl ServerUrl {
    /// The whole address, with its password.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What a parameter says; of several of one name the last one counts.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        let pairs = self.parameters()?.split('&').filter_map(|pair| pair.split_once('='));
        let mut pairs = pairs.rev();
        Some(decoded(pairs.find(|(key, _)| decoded(key) == name)?.1))
    }

    /// The same address without a parameter.
    #[cfg(any(feature = "postgres-tls", test))]
    pub(crate) fn without(&self, name: &str) -> Self {
        let Some(parameters) = self.parameters() else { return self.clone() };
        let address = &self.0[..self.0.len() - parameters.len() - 1];
        let is_other = |pair: &&str| decoded(pair.split('=').next().unwrap_or_default()) != name;
        let others: Vec<&str> = parameters.split('&').filter(is_other).collect();
        let mark = if others.is_empty() { "" } else { "?" };
        Self(format!("{address}{mark}{}", others.join("&")))
    }

    /// What is behind the `?` that ends the address; one before the host is the password's. The
    /// first `@` stands before the host, as the client has it.
    fn parameters(&self) -> Option<&str> {
        let host = self.0.find('@').unwrap_or_default();
        self.0[host..].split_once('?').map(|(_, parameters)| parameters)
    }
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

impl<T: Into<String>> From<T> for ServerUrl {
    fn from(url: T) -> Self {
        Self(url.into())
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((scheme, rest)) = self.0.split_once("://") else { return f.write_str("***") };
        // Parameters can carry a password too.
        let (rest, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        // Then the `?` may be one of the password, whose beginning is in front of it.
        if parameters.contains('@') {
            return write!(f, "{scheme}://***");
        }
        match rest.rsplit_once('@') {
            Some((_, host)) => write!(f, "{scheme}://***@{host}"),
            None => write!(f, "{scheme}://{rest}"),
        }
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_and_left_out() {
        let url = ServerUrl::from("postgres://u:a?b=c@host/db?a=1@&sslmode=require&%61=2");
        assert_eq!(url.parameter("a").as_deref(), Some("2"));
        assert_eq!(url.parameter("b"), None);
        let without = url.without("sslmode");
        assert_eq!(without.expose(), "postgres://u:a?b=c@host/db?a=1@&%61=2");
        assert_eq!(without.without("a").expose(), "postgres://u:a?b=c@host/db");
        assert_eq!(ServerUrl::from("postgres://host/db").parameter("a"), None);
    }
}
