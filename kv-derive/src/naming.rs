//! The names that are made from other names.

use proc_macro2::{Ident, Span};
use syn::ext::IdentExt;

/// An identifier as PostgreSQL and Redis see it: `r#type` is `type`.
pub(crate) fn unraw(ident: &Ident) -> String {
    ident.unraw().to_string()
}

/// `TripLeg` as `trip_leg`, `HTTPRequest` as `http_request`.
pub(crate) fn snake_case(name: &str) -> String {
    let characters: Vec<char> = name.chars().collect();
    let mut snake = String::with_capacity(name.len() + 4);
    for (index, &character) in characters.iter().enumerate() {
        let starts_word = character.is_uppercase()
            && index > 0
            && characters[index - 1] != '_'
            && (!characters[index - 1].is_uppercase()
                || characters.get(index + 1).is_some_and(|next| next.is_lowercase()));
        if starts_word {
            snake.push('_');
        }
        snake.extend(character.to_lowercase());
    }
    snake
}

/// The variants of the field enum: `driver_id` as `DriverId`.
///
/// Fields that differ in nothing but underscores get different variants all the same.
pub(crate) fn variants<'a>(fields: impl IntoIterator<Item = &'a Ident>) -> Vec<Ident> {
    let mut taken: Vec<String> = Vec::new();
    fields
        .into_iter()
        .map(|field| {
            let mut name = upper_camel_case(&unraw(field));
            // `Self` is a keyword, `ALL` the enum's own constant.
            while name == "Self" || name == "ALL" || taken.contains(&name) {
                name.push('_');
            }
            let variant = Ident::new(&name, field.span());
            taken.push(name);
            variant
        })
        .collect()
}

fn upper_camel_case(name: &str) -> String {
    let mut camel = String::with_capacity(name.len());
    for word in name.split('_') {
        let mut characters = word.chars();
        camel.extend(characters.next().into_iter().flat_map(char::to_uppercase));
        camel.push_str(characters.as_str());
    }
    // `_0` would begin with a digit, `__` would be empty, and `_` alone is no name.
    if !camel.starts_with(|first: char| first.is_alphabetic()) {
        camel.insert(0, '_');
    }
    if camel == "_" {
        camel.push('_');
    }
    camel
}

/// The identifier `table!` has for a column of this name, `None` if it can have none.
///
/// A keyword has an underscore behind it there, as `diesel print-schema` writes it.
pub(crate) fn table_column(name: &str, span: Span) -> Option<Ident> {
    if let Ok(mut ident) = syn::parse_str::<Ident>(name) {
        ident.set_span(span);
        return Some(ident);
    }
    let mut ident = syn::parse_str::<Ident>(&format!("{name}_")).ok()?;
    ident.set_span(span);
    Some(ident)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snake_case_keeps_acronyms_together() {
        for (name, expected) in [
            ("Booking", "booking"),
            ("TripLeg", "trip_leg"),
            ("HTTPRequest", "http_request"),
            ("V2Order", "v2_order"),
            ("Snake_Case", "snake_case"),
            ("A", "a"),
            ("Größe", "größe"),
        ] {
            assert_eq!(snake_case(name), expected);
        }
    }

    #[test]
    fn every_field_has_a_variant_of_its_own() {
        let fields = ["driver_id", "r#type", "a_b", "ab_", "a__b", "_0", "__", "self_", "a_l_l"];
        let fields: Vec<Ident> =
            fields.iter().map(|name| syn::parse_str(name).expect("an identifier")).collect();
        let names: Vec<String> = variants(&fields).iter().map(Ident::to_string).collect();
        assert_eq!(names, ["DriverId", "Type", "AB", "Ab", "AB_", "_0", "__", "Self_", "ALL_"]);
    }

    #[test]
    fn columns_are_named_as_print_schema_names_them() {
        let ident = |name| table_column(name, Span::call_site()).map(|ident| ident.to_string());
        assert_eq!(ident("driver_id").as_deref(), Some("driver_id"));
        assert_eq!(ident("type").as_deref(), Some("type_"));
        assert_eq!(ident("driver id"), None);
        assert_eq!(ident("1st"), None);
    }
}
