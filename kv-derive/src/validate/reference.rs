//! The foreign keys of a model.

use syn::LitStr;

use super::positions;
use crate::diagnostics::Diagnostics;
use crate::input::{FieldInput, StructAttributes};
use crate::model::ModelReference;

const WRITTEN: &str = "write the table with its columns, such as `\"merchants(id)\"`";

/// Those of single fields first.
pub(super) fn references(
    attributes: &StructAttributes,
    inputs: &[FieldInput],
    diagnostics: &mut Diagnostics,
) -> Vec<ModelReference> {
    let mut references = Vec::new();
    for (at, field) in inputs.iter().enumerate() {
        let Some(target) = &field.references else { continue };
        references.extend(diagnostics.ok(reference(vec![at], target)));
    }
    for given in &attributes.references {
        let fields = positions(&given.fields, inputs, diagnostics);
        let Some(target) = &given.text else {
            diagnostics
                .error(&given.at, "say what it refers to: `to = \"shops(merchant_id, id)\"`");
            continue;
        };
        // A name that is unknown was reported, and would only be one more mistake here.
        if fields.len() == given.fields.len() {
            references.extend(diagnostics.ok(reference(fields, target)));
        }
    }
    references
}

fn reference(fields: Vec<usize>, target: &LitStr) -> syn::Result<ModelReference> {
    let wrong = |message: &str| syn::Error::new(target.span(), message);
    let text = target.value();
    let parts = text.split_once('(').and_then(|(table, rest)| {
        let (columns, rest) = rest.split_once(')')?;
        Some((table.trim(), columns.split(',').map(str::trim), rest.trim()))
    });
    let Some((table, columns, rest)) = parts else { return Err(wrong(WRITTEN)) };
    let columns: Vec<String> = columns.map(str::to_owned).collect();
    if table.is_empty() || columns.iter().any(String::is_empty) {
        return Err(wrong(WRITTEN));
    }
    if !rest.is_empty() {
        return Err(wrong(
            "a foreign key of a model has no action, because that would change rows behind \
             Redis' back; end behind the `)`, and delete or change the rows by their repository",
        ));
    }
    if columns.len() != fields.len() {
        return Err(wrong("name one column for each field that refers to it"));
    }
    Ok(ModelReference { fields, table: table.to_owned(), columns })
}
