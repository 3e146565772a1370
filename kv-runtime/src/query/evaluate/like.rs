//! `LIKE`.

/// A part of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// `%`
    Any,
    /// `_`
    One,
    Exactly(char),
}

/// Whether a text is like a pattern; with `ignores_case`, letters of ASCII in either case are the
/// same.
pub(super) fn is_like(text: &str, pattern: &str, ignores_case: bool) -> bool {
    let fold = |character: char| {
        if ignores_case { character.to_ascii_lowercase() } else { character }
    };
    let text: Vec<char> = text.chars().map(fold).collect();
    let parts = parts_of(pattern, fold);
    let (mut at, mut part) = (0, 0);
    // Where the last `%` stands, and how far the text went when it was met: it can take more.
    let mut retry: Option<(usize, usize)> = None;
    while at < text.len() {
        match parts.get(part) {
            Some(Part::Any) => {
                retry = Some((part, at));
                part += 1;
                continue;
            }
            Some(Part::One) => {}
            Some(Part::Exactly(character)) if *character == text[at] => {}
            _ => {
                let Some((any, begun)) = retry else { return false };
                retry = Some((any, begun + 1));
                (part, at) = (any + 1, begun + 1);
                continue;
            }
        }
        part += 1;
        at += 1;
    }
    parts[part..].iter().all(|part| *part == Part::Any)
}

fn parts_of(pattern: &str, fold: impl Fn(char) -> char) -> Vec<Part> {
    let mut characters = pattern.chars();
    let mut parts = Vec::new();
    while let Some(character) = characters.next() {
        parts.push(match character {
            '%' => Part::Any,
            '_' => Part::One,
            '\\' => Part::Exactly(fold(characters.next().unwrap_or('\\'))),
            other => Part::Exactly(fold(other)),
        });
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_sql() {
        for (text, pattern, expected) in [
            ("", "", true),
            ("", "%", true),
            ("", "_", false),
            ("a", "", false),
            ("abc", "a%", true),
            ("abc", "%c", true),
            ("abc", "%b%", true),
            ("abc", "_b_", true),
            ("abc", "_b", false),
            ("aab", "%ab", true),
            ("abab", "%ab", true),
            ("mississippi", "%iss%ppi", true),
            ("mississippi", "%iss%ppx", false),
            ("é", "_", true),
            ("a%", "a\\%", true),
            ("ab", "a\\%", false),
            ("a_", "a\\_", true),
            ("\\", "\\\\", true),
            ("x", "\\x", true),
            ("A", "a", false),
        ] {
            assert_eq!(is_like(text, pattern, false), expected, "{text} like {pattern}");
        }
        assert!(is_like("ABC", "a\\b_", true));
        assert!(!is_like("É", "é", true), "a letter that is not of ASCII");
    }
}
