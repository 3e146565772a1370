//! What is filled in of a new row.

use crate::diagnostics::Diagnostics;
use crate::input::FieldInput;

/// A sequence numbers the whole id.
pub(super) fn serial(
    inputs: &[FieldInput],
    id: &[usize],
    diagnostics: &mut Diagnostics,
) -> Option<usize> {
    let mut serial = None;
    for (at, field) in inputs.iter().enumerate() {
        let Some(span) = field.serial else { continue };
        if id == [at] {
            check_not_fresh(field, diagnostics);
            serial = Some(at);
            continue;
        }
        let message = if id.contains(&at) {
            "`serial` numbers the rows of a table, so it is for an id of one field"
        } else {
            "`serial` says where the ids of new rows come from; write it as `id, serial`"
        };
        diagnostics.push(syn::Error::new(span, message));
    }
    serial
}

/// It would say what follows anyway. `fresh = false` says something: that others choose ids, too.
fn check_not_fresh(field: &FieldInput, diagnostics: &mut Diagnostics) {
    if let Some((span, true)) = field.fresh {
        let message = "the ids of a sequence are new; remove `fresh`";
        diagnostics.push(syn::Error::new(span, message));
    }
}

/// What the runtime fills in has no default beside that.
pub(super) fn check_defaults(inputs: &[FieldInput], diagnostics: &mut Diagnostics) {
    for field in inputs {
        let Some(default) = &field.default else { continue };
        let message = match (field.serial, field.version) {
            (Some(_), _) => "a sequence numbers the ids; remove `default`",
            (None, Some(_)) => "every write sets the version; remove `default`",
            (None, None) => continue,
        };
        diagnostics.error(default, message);
    }
}

/// What PostgreSQL alone fills, nobody else does.
pub(super) fn check_read_only(inputs: &[FieldInput], diagnostics: &mut Diagnostics) {
    for field in inputs {
        let Some(span) = field.read_only else { continue };
        let message = if field.id.is_some() {
            "a row is written under its id, so the id cannot be read-only"
        } else if field.version.is_some() {
            "every write sets the version, so it cannot be read-only"
        } else if field.default.is_some() {
            "PostgreSQL alone fills what is read-only; remove `default`"
        } else {
            continue;
        };
        diagnostics.push(syn::Error::new(span, message));
    }
}
