//! From what the user wrote to a model: checks every rule and fills in every default.
//!
//! A rule that is broken is reported, and something harmless stands in for the value, so
//! that the remaining rules are checked as well.

mod column_type;
mod index;
mod mode;
mod name;
mod new_row;
mod reference;

use proc_macro2::{Ident, Span};
use syn::{LitStr, Visibility};

use self::mode::{durability, scheme, ttl_seconds};
pub(crate) use self::name::check_length;
use self::name::{check_hash_name, key_part, not_empty, table};
use crate::attribute::argument_of;
use crate::diagnostics::{Diagnostics, name_list, similar_name};
use crate::input::{FieldInput, ModelInput};
use crate::model::{Field, Model};
use crate::naming::{snake_case, table_column, unraw, variants};

/// What the README promises, and what a Redis script can take as arguments with ease.
const FIELDS_MAX: usize = 128;

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
