//! Collects the mistakes of a struct, so that all of them are reported in one go.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::Error;

/// The mistakes found so far.
///
/// Dropping it unread would let a mistake compile, so that is a bug and panics.
#[must_use]
pub(crate) struct Diagnostics {
    errors: Option<Vec<Error>>,
}

impl Diagnostics {
    pub(crate) fn new() -> Self {
        Self { errors: Some(Vec::new()) }
    }

    /// Adds a mistake at a token.
    pub(crate) fn error(&mut self, at: impl ToTokens, message: impl std::fmt::Display) {
        self.push(Error::new_spanned(at, message));
    }

    /// Adds a mistake that carries its own place.
    pub(crate) fn push(&mut self, error: Error) {
        self.errors.get_or_insert_default().push(error);
    }

    /// The value of a step that went well; otherwise its mistake is added.
    pub(crate) fn ok<T>(&mut self, result: syn::Result<T>) -> Option<T> {
        result.map_err(|error| self.push(error)).ok()
    }

    /// All mistakes as `compile_error!`s, in the order they were found; `None` without any.
    pub(crate) fn finish(mut self) -> Option<TokenStream> {
        let errors = self.errors.take().unwrap_or_default();
        if errors.is_empty() {
            return None;
        }
        Some(errors.iter().map(Error::to_compile_error).collect())
    }
}

impl Drop for Diagnostics {
    fn drop(&mut self) {
        // A second panic would abort and hide the first one.
        if self.errors.is_some() && !std::thread::panicking() {
            panic!("the mistakes of a struct were dropped without being reported");
        }
    }
}

/// How alike two names must be for one to be suggested for the other.
///
/// High enough that `ttl` is not suggested for `table`, low enough for two swapped letters.
const SIMILARITY_MIN: f64 = 0.8;

/// The known name most like a misspelled one, if one is like it at all.
pub(crate) fn similar_name<'a>(
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .map(|(_, candidate)| candidate)
}

/// Names in backquotes with commas between them.
pub(crate) fn name_list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "dropped without being reported")]
    fn dropping_unread_mistakes_is_a_bug() {
        let mut diagnostics = Diagnostics::new();
        diagnostics.push(Error::new(proc_macro2::Span::call_site(), "a mistake"));
    }

    #[test]
    fn the_most_similar_name_is_suggested() {
        let known = ["table", "ttl", "key_prefix", "partition_by"];
        assert_eq!(similar_name("tabel", known), Some("table"));
        assert_eq!(similar_name("keyprefix", known), Some("key_prefix"));
        assert_eq!(similar_name("partiton_by", known), Some("partition_by"));
        assert_eq!(similar_name("colour", known), None);
    }
}
