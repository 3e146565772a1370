//! From what the user wrote to a model: checks every rule and fills in every default.
//!
//! A rule that is broken is reported, and something harmless stands in for the value, so
//! that the remaining rules are checked as well.

mod column_type;
mod index;
mod new_row;
mod reference;

use proc_macro2::{Ident, Span};
use quote::ToTokens;
use syn::{LitStr, Path, Visibility};

use crate::attribute::{NumberOrText, TextOrPath, argument_of};
use crate::diagnostics::{Diagnostics, name_list, similar_name};
use crate::input::{FieldInput, ModelInput, StructAttributes};
use crate::model::{Durability, Field, Model};
use crate::naming::{snake_case, table_column, unraw, variants};

/// What the README promises, and what a Redis script can take as arguments with ease.
const FIELDS_MAX: usize = 128;

/// PostgreSQL's own bound, as it is mostly built.
const SQL_NAME_BYTES_MAX: usize = 63;

/// A century: longer is a mistake in the unit.
const TTL_SECONDS_MAX: u64 = 100 * 365 * 24 * 60 * 60;

/// A day: longer is a mistake in the unit.
const TIMEOUT_MS_MAX: u64 = 24 * 60 * 60 * 1_000;

/// Turns the input into a model, which is fit to expand only if nothing was reported.
pub(crate) fn validate(input: ModelInput, diagnostics: &mut Diagnostics) -> Model {
    let ModelInput { ident, visibility, attributes, fields } = input;
    // Of a shape that was refused, the fields are not checked as well.
    let has_fields = fields.is_some();
    let inputs = fields.unwrap_or_default();

    let name = snake_case(&unraw(&ident));
    let (table, diesel_table) = table(&attributes, &ident, &name, diagnostics);
    let key_prefix = key_part(attributes.key_prefix.as_ref(), "key_prefix", diagnostics);
    let queue = key_part(attributes.queue.as_ref(), "queue", diagnostics);
    let ttl_seconds = attributes.ttl.as_ref().and_then(|ttl| diagnostics.ok(ttl_seconds(ttl)));
    let durability =
        attributes.durability.as_ref().and_then(|mode| diagnostics.ok(durability(mode)));
    let scheme = attributes.scheme.as_ref().and_then(|name| diagnostics.ok(scheme(name)));

    let id: Vec<usize> = (0..inputs.len()).filter(|&at| inputs[at].id.is_some()).collect();
    if has_fields {
        check_has_id(&ident, &inputs, diagnostics);
        check_field_count(&inputs, diagnostics);
    }
    check_fresh_is_of_id(&inputs, diagnostics);
    check_fresh_is_said_once(&inputs, diagnostics);
    let id_is_declared_fresh =
        inputs.iter().find_map(|field| field.fresh).map(|(_, is_fresh)| is_fresh);
    let partition_by = match &attributes.partition_by {
        Some(names) if has_fields => partition_by(names, &inputs, &id, diagnostics),
        _ => (0..id.len()).collect(),
    };

    let (unique, indexes) = if has_fields {
        index::indexes(&attributes, &inputs, &id, diagnostics)
    } else {
        Default::default()
    };
    let references = if has_fields {
        reference::references(&attributes, &inputs, diagnostics)
    } else {
        Vec::new()
    };
    let checks = checks(&attributes.checks, diagnostics);
    let version = version(&inputs, &id, diagnostics);
    let serial = new_row::serial(&inputs, &id, diagnostics);
    new_row::check_defaults(&inputs, diagnostics);
    new_row::check_read_only(&inputs, diagnostics);

    let key_prefix = key_prefix.unwrap_or(name);
    let is_checked_by_diesel = diesel_table.is_some();
    Model {
        runtime: attributes.runtime.unwrap_or_else(|| syn::parse_quote!(::kv_runtime)),
        table,
        diesel_table,
        queue: queue.unwrap_or_else(|| format!("{key_prefix}_queue")),
        key_prefix,
        ttl_seconds,
        durability,
        scheme,
        fields: fields_of(inputs, &visibility, is_checked_by_diesel, diagnostics),
        id,
        id_is_declared_fresh,
        partition_by,
        unique,
        indexes,
        references,
        checks,
        version,
        serial,
        ident,
        visibility,
    }
}

/// The table's name, and the path of its `table!` if that is how it is given.
fn table(
    attributes: &StructAttributes,
    ident: &Ident,
    struct_name: &str,
    diagnostics: &mut Diagnostics,
) -> (String, Option<Path>) {
    let given_name = attributes.table_name.as_ref().filter(|name| is_table_name(name, diagnostics));
    let path = match &attributes.table {
        Some(TextOrPath::Path(path)) => path,
        name => {
            if let Some(table_name) = &attributes.table_name {
                let message = "`table_name` goes with the path of a `table!`; \
                               without one, write the name as `table = \"…\"`";
                diagnostics.error(table_name, message);
            }
            return match name {
                Some(TextOrPath::Text(name)) => {
                    is_table_name(name, diagnostics);
                    (name.value(), None)
                }
                _ => {
                    let name = format!("{struct_name}s");
                    check_length(&name, ident, diagnostics);
                    (name, None)
                }
            };
        }
    };
    let last = path.segments.last().map(|segment| &segment.ident);
    if last.is_some_and(|last| last == "table") && path.segments.len() > 1 {
        let message = "name the module that `table!` makes, without `::table`";
        diagnostics.error(path, message);
    }
    let name = given_name.map(LitStr::value).or_else(|| last.map(unraw)).unwrap_or_default();
    if given_name.is_none() {
        check_length(&name, path, diagnostics);
    }
    (name, Some(path.clone()))
}

/// Whether a table's name can be taken apart at its dot: that of its schema, and its own.
fn is_table_name(name: &LitStr, diagnostics: &mut Diagnostics) -> bool {
    if !not_empty(name, diagnostics) {
        return false;
    }
    let text = name.value();
    let parts: Vec<&str> = text.split('.').collect();
    let is_name = |part: &&str| !part.is_empty() && part.trim() == *part;
    if parts.len() > 2 || text.contains("::") || !parts.iter().all(is_name) {
        let message = "write the table's name as SQL has it, such as `bookings` or \
                       `app.bookings`; the path of a `diesel::table!` stands without quotes";
        diagnostics.error(name, message);
        return false;
    }
    parts.into_iter().for_each(|part| check_length(part, name, diagnostics));
    true
}

/// PostgreSQL cuts off what is longer, so that the table, column or type would not be found under
/// its name, or two would have the same.
pub(crate) fn check_length(name: &str, at: impl ToTokens, diagnostics: &mut Diagnostics) {
    let bytes = name.len();
    if bytes > SQL_NAME_BYTES_MAX {
        let message = format!(
            "PostgreSQL keeps {SQL_NAME_BYTES_MAX} bytes of a name, and `{name}` has {bytes}; \
             shorten it"
        );
        diagnostics.error(at, message);
    }
}

fn not_empty(name: &LitStr, diagnostics: &mut Diagnostics) -> bool {
    let is_empty = name.value().trim().is_empty();
    if is_empty {
        diagnostics.error(name, "the name is empty");
    }
    !is_empty
}

/// A key's prefix or a queue's name: it is a part of every key, where `:{}` and the like
/// have a meaning.
fn key_part(
    given: Option<&LitStr>,
    attribute: &str,
    diagnostics: &mut Diagnostics,
) -> Option<String> {
    let literal = given?;
    let text = literal.value();
    let is_allowed = |character: char| character.is_alphanumeric() || "_-".contains(character);
    if text.is_empty() || !text.chars().all(is_allowed) {
        let message = format!("`{attribute}` is made of letters, digits, `_` and `-`");
        diagnostics.error(literal, message);
    }
    Some(text)
}

fn ttl_seconds(ttl: &NumberOrText) -> syn::Result<u64> {
    let (seconds, span) = match ttl {
        NumberOrText::Number(number) => {
            if !number.suffix().is_empty() {
                let message = "write the seconds without a suffix, or quote the unit: `\"15m\"`";
                return Err(syn::Error::new_spanned(number, message));
            }
            (number.base10_parse::<u64>().ok(), number.span())
        }
        NumberOrText::Text(text) => (duration_seconds(&text.value()), text.span()),
    };
    seconds.filter(|seconds| (1..=TTL_SECONDS_MAX).contains(seconds)).ok_or_else(|| {
        let message = "`ttl` is a whole number of seconds, or a quoted one with its unit \
                       (s, m, h, d), such as `\"15m\"`; at least a second, at most a century";
        syn::Error::new(span, message)
    })
}

fn durability(mode: &LitStr) -> syn::Result<Durability> {
    parse_durability(&mode.value()).ok_or_else(|| {
        let message = "`durability` is `\"fast\"`, `\"replicated(1, 100ms)\"` (how many replicas, \
                       and how long to wait for them) or `\"fsynced(1s)\"`; at least one replica, \
                       and a time in ms, s or m of at most a day";
        syn::Error::new(mode.span(), message)
    })
}

/// The variant of `StorageScheme` that a name stands for.
fn scheme(name: &LitStr) -> syn::Result<&'static str> {
    Ok(match name.value().as_str() {
        "write_behind" => "WriteBehind",
        "write_through" => "WriteThrough",
        "cache_aside" => "CacheAside",
        "redis_only" => "RedisOnly",
        "postgres_only" => "PostgresOnly",
        _ => {
            let message = "`scheme` is `\"write_behind\"`, `\"write_through\"`, \
                           `\"cache_aside\"`, `\"redis_only\"` or `\"postgres_only\"`";
            return Err(syn::Error::new(name.span(), message));
        }
    })
}

fn parse_durability(text: &str) -> Option<Durability> {
    if text == "fast" {
        return Some(Durability::Fast);
    }
    let (mode, arguments) = text.strip_suffix(')')?.split_once('(')?;
    match mode {
        "replicated" => {
            let (replicas, timeout) = arguments.split_once(',')?;
            let replicas = replicas.trim().parse().ok().filter(|&replicas| replicas > 0)?;
            Some(Durability::Replicated { replicas, timeout_ms: timeout_ms(timeout.trim())? })
        }
        "fsynced" => Some(Durability::Fsynced { timeout_ms: timeout_ms(arguments.trim())? }),
        _ => None,
    }
}

/// `2s` as 2,000.
fn timeout_ms(text: &str) -> Option<u64> {
    let (digits, unit) = split_unit(text);
    let unit: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60 * 1_000,
        _ => return None,
    };
    let milliseconds = digits.parse::<u64>().ok()?.checked_mul(unit)?;
    (1..=TIMEOUT_MS_MAX).contains(&milliseconds).then_some(milliseconds)
}

/// `15m` as 900.
fn duration_seconds(text: &str) -> Option<u64> {
    let (digits, unit) = split_unit(text);
    let unit: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// `15m` as `15` and `m`.
fn split_unit(text: &str) -> (&str, &str) {
    let digits = text.trim_end_matches(|character: char| character.is_ascii_alphabetic());
    text.split_at(digits.len())
}

/// A row is found by its id.
fn check_has_id(ident: &Ident, inputs: &[FieldInput], diagnostics: &mut Diagnostics) {
    if inputs.iter().any(|field| field.id.is_some()) {
        return;
    }
    if let Some(field) = inputs.iter().find(|field| field.ident == "id") {
        diagnostics
            .error(&field.ident, "no field is marked as the id; add `#[kv(id)]` to this one");
        return;
    }
    let message = "no field is marked as the id; \
                   add `#[kv(id)]` to the field, or the fields, of the primary key";
    diagnostics.error(ident, message);
}

/// It says something about the ids of new rows.
fn check_fresh_is_of_id(inputs: &[FieldInput], diagnostics: &mut Diagnostics) {
    for field in inputs.iter().filter(|field| field.id.is_none()) {
        if let Some((span, _)) = field.fresh {
            let message = "`fresh` says that the ids of new rows are new; write it as `id, fresh`";
            diagnostics.push(syn::Error::new(span, message));
        }
    }
}

/// The id is new as a whole, or it is not.
fn check_fresh_is_said_once(inputs: &[FieldInput], diagnostics: &mut Diagnostics) {
    let mut said = inputs.iter().filter_map(|field| field.fresh);
    let Some((_, first)) = said.next() else { return };
    for (span, is_fresh) in said {
        if is_fresh != first {
            let message = "`fresh` is about the id as a whole; say the same at each of its fields, \
                           or say it at one of them";
            diagnostics.push(syn::Error::new(span, message));
        }
    }
}

fn check_field_count(inputs: &[FieldInput], diagnostics: &mut Diagnostics) {
    if let Some(field) = inputs.get(FIELDS_MAX) {
        let message = format!("a model has at most {FIELDS_MAX} fields");
        diagnostics.error(&field.ident, message);
    }
}

/// The partition must follow from the id alone, because a read knows no more.
fn partition_by(
    names: &[Ident],
    inputs: &[FieldInput],
    id: &[usize],
    diagnostics: &mut Diagnostics,
) -> Vec<usize> {
    let mut positions = Vec::new();
    for name in names {
        let field = inputs.iter().position(|field| field.ident == *name);
        let position = id.iter().position(|&at| Some(at) == field);
        match (field, position) {
            (_, Some(position)) if positions.contains(&position) => {
                diagnostics.error(name, format!("`{name}` is named twice"));
            }
            (_, Some(position)) => positions.push(position),
            (Some(_), None) => {
                let message =
                    format!("the partition must follow from the id; add `#[kv(id)]` to `{name}`");
                diagnostics.error(name, message);
            }
            (None, None) => diagnostics.error(name, unknown_field(name, inputs)),
        }
    }
    positions
}

/// Conditions for PostgreSQL to read; one that is there twice has the name of the other.
fn checks(given: &[LitStr], diagnostics: &mut Diagnostics) -> Vec<String> {
    let mut checks: Vec<String> = Vec::new();
    for check in given {
        let text = check.value();
        if text.trim().is_empty() {
            diagnostics.error(check, "the condition is empty");
        } else if checks.contains(&text) {
            diagnostics.error(check, "this condition is given twice; remove one");
        } else {
            checks.push(text);
        }
    }
    checks
}

/// One field counts the changes, and it is none by which the row is found.
fn version(inputs: &[FieldInput], id: &[usize], diagnostics: &mut Diagnostics) -> Option<usize> {
    let mut version = None;
    for (at, field) in inputs.iter().enumerate() {
        let Some(span) = field.version else { continue };
        if id.contains(&at) {
            let message = "the id of a row never changes, so it cannot be its version";
            diagnostics.push(syn::Error::new(span, message));
        } else if version.is_some() {
            let message = "a model has one version; remove this one";
            diagnostics.push(syn::Error::new(span, message));
        } else {
            version = Some(at);
        }
    }
    version
}

/// The fields of these names, each once.
fn positions(names: &[Ident], inputs: &[FieldInput], diagnostics: &mut Diagnostics) -> Vec<usize> {
    let mut positions = Vec::new();
    for name in names {
        match inputs.iter().position(|field| field.ident == *name) {
            Some(at) if positions.contains(&at) => {
                diagnostics.error(name, format!("`{name}` is named twice"));
            }
            Some(at) => positions.push(at),
            None => diagnostics.error(name, unknown_field(name, inputs)),
        }
    }
    positions
}

fn unknown_field(name: &Ident, inputs: &[FieldInput]) -> String {
    let names: Vec<String> = inputs.iter().map(|field| field.ident.to_string()).collect();
    let known = || names.iter().map(String::as_str);
    match similar_name(&name.to_string(), known()) {
        Some(similar) => format!("there is no field `{name}`; did you mean `{similar}`?"),
        None => format!("there is no field `{name}`; the fields are {}", name_list(known())),
    }
}

fn fields_of(
    inputs: Vec<FieldInput>,
    struct_visibility: &Visibility,
    is_checked_by_diesel: bool,
    diagnostics: &mut Diagnostics,
) -> Vec<Field> {
    check_no_nested_option(&inputs, diagnostics);
    check_unique(&inputs, "stored in Redis as", |field| field.rename.as_ref(), diagnostics);
    check_unique(&inputs, "stored in the column", |field| field.column.as_ref(), diagnostics);
    let variants = variants(inputs.iter().map(|field| &field.ident));
    let field = |(input, variant): (FieldInput, Ident)| {
        let name = unraw(&input.ident);
        let column = input.column.as_ref().filter(|column| not_empty(column, diagnostics));
        match column {
            Some(column) => check_length(&column.value(), column, diagnostics),
            None => check_length(&name, &input.ident, diagnostics),
        }
        let hash_name = input.rename.as_ref().inspect(|name| check_hash_name(name, diagnostics));
        Field {
            table_column: column.map_or_else(
                || input.ident.clone(),
                |column| column_in_table(column, is_checked_by_diesel, diagnostics),
            ),
            column: column.map_or_else(|| name.clone(), LitStr::value),
            numeric: input
                .column_type
                .as_ref()
                .and_then(|ty| diagnostics.ok(column_type::numeric(ty))),
            hash_name: hash_name.map_or_else(|| name.clone(), LitStr::value),
            visibility: setter_visibility(input.visibility, struct_visibility),
            ident: input.ident,
            name,
            ty: input.ty,
            docs: input.docs,
            is_read_only: input.read_only.is_some(),
            default: input.default,
            variant,
        }
    };
    inputs.into_iter().zip(variants).map(field).collect()
}

/// By its name, as the user sees it: what another name hides, the compiler finds.
fn check_no_nested_option(inputs: &[FieldInput], diagnostics: &mut Diagnostics) {
    for FieldInput { ty, .. } in inputs {
        let inner = argument_of(ty, "Option").and_then(|inner| argument_of(inner, "Option"));
        if inner.is_some() {
            let message = "an `Option` of an `Option` cannot be stored, because a column has one \
                           NULL; write one `Option`";
            diagnostics.error(ty, message);
        }
    }
}

/// Two fields under one name would overwrite each other.
fn check_unique(
    inputs: &[FieldInput],
    what: &str,
    given: impl Fn(&FieldInput) -> Option<&LitStr>,
    diagnostics: &mut Diagnostics,
) {
    let names: Vec<String> = inputs
        .iter()
        .map(|field| given(field).map_or_else(|| unraw(&field.ident), LitStr::value))
        .collect();
    for (at, name) in names.iter().enumerate() {
        let Some(other) = names[..at].iter().position(|other| other == name) else { continue };
        let (first, second) = (&inputs[other], &inputs[at]);
        let message = format!("`{}` and `{}` are both {what} `{name}`", first.ident, second.ident);
        // At the attribute that made them equal, wherever it stands.
        match given(second).or(given(first)) {
            Some(literal) => diagnostics.error(literal, message),
            None => diagnostics.error(&second.ident, message),
        }
    }
}

/// The names with an `@` are those of the row's own bookkeeping.
fn check_hash_name(literal: &LitStr, diagnostics: &mut Diagnostics) {
    let name = literal.value();
    let is_separator = |character: char| character.is_whitespace() || character == ',';
    if name.is_empty() || name.starts_with('@') || name.contains(is_separator) {
        let message = "a field's name in Redis is not empty, does not begin with `@`, \
                       and has no white space or comma";
        diagnostics.error(literal, message);
    }
}

fn column_in_table(
    column: &LitStr,
    is_checked_by_diesel: bool,
    diagnostics: &mut Diagnostics,
) -> Ident {
    let ident = table_column(&column.value(), column.span());
    if ident.is_none() && is_checked_by_diesel {
        let message = "no column of a `table!` has this name; \
                       write `table = \"…\"` for a table with such columns";
        diagnostics.error(column, message);
    }
    ident.unwrap_or_else(|| Ident::new("column", Span::call_site()))
}

/// A `pub` field of a private struct is as private as the struct.
fn setter_visibility(field: Visibility, of_struct: &Visibility) -> Visibility {
    match field {
        Visibility::Public(_) => of_struct.clone(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::{Durability, duration_seconds, parse_durability};

    #[test]
    fn durations_have_a_number_and_a_unit() {
        assert_eq!(duration_seconds("15m"), Some(900));
        assert_eq!(duration_seconds("1h"), Some(3_600));
        assert_eq!(duration_seconds("7d"), Some(604_800));
        assert_eq!(duration_seconds("30s"), Some(30));
        for wrong in ["", "15", "m", "15 m", "15M", "-1s", "1.5h", "1h30m", "99999999999999999999d"]
        {
            assert_eq!(duration_seconds(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn durability_is_a_mode_with_what_it_waits_for() {
        assert_eq!(parse_durability("fast"), Some(Durability::Fast));
        let replicated = Durability::Replicated { replicas: 2, timeout_ms: 100 };
        for text in ["replicated(2, 100ms)", "replicated( 2,100ms )"] {
            assert_eq!(parse_durability(text), Some(replicated), "{text}");
        }
        let fsynced = Durability::Fsynced { timeout_ms: 2_000 };
        assert_eq!(parse_durability("fsynced(2s)"), Some(fsynced));
        for wrong in [
            "",
            "slow",
            "fast()",
            "replicated",
            "replicated(1)",
            "replicated(0, 1s)",
            "replicated(-1, 1s)",
            "replicated(1, 1h)",
            "replicated(1, 100)",
            "fsynced(0ms)",
            "fsynced(1, 1s)",
            "fsynced(1s",
            "fsynced(1441m)",
        ] {
            assert_eq!(parse_durability(wrong), None, "{wrong}");
        }
    }
}
