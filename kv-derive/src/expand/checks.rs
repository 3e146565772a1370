//! What only the compiler knows of a field's type, checked while the model is compiled.

use proc_macro2::TokenStream;
use quote::quote;

use super::at_type;
use crate::model::{Field, Model};

// const _: () = if <Uuid as ::kv_runtime::KvValue>::NULLABLE {
//     ::core::panic!("`id` is a part of the id and cannot be NULL")
// };
pub(super) fn expand(model: &Model) -> TokenStream {
    let runtime = &model.runtime;
    let ids = model.id_fields().map(|field| {
        let is_wrong = |value| quote!(#value::NULLABLE);
        refuse(model, field, is_wrong, "is a part of the id and cannot be NULL")
    });
    let texts = model.id_fields().map(|field| {
        let is_wrong = |value| quote!(!#value::HAS_ONE_TEXT);
        let problem = "is a part of the id, and equal values of its type have several texts, each of \
                       which would be another row in Redis; take an integer, a text or a UUID";
        refuse(model, field, is_wrong, problem)
    });
    let fields = || model.fields.iter();
    let read_only = fields().filter(|field| field.is_read_only).map(|field| {
        let is_wrong = |value| quote!(!#value::NULLABLE);
        let problem =
            "is read-only, so it is NULL until PostgreSQL has filled it; make it an `Option`";
        refuse(model, field, is_wrong, problem)
    });
    let numeric = fields().filter(|field| field.numeric.is_some()).map(|field| {
        let numeric = quote!(#runtime::ColumnType::Numeric);
        let is_wrong = |value| quote!(!::core::matches!(#value::TYPE, #numeric));
        let problem = "is no decimal number, so its `column_type` cannot be `numeric`; remove it";
        refuse(model, field, is_wrong, problem)
    });
    ids.chain(texts).chain(read_only).chain(numeric).collect()
}

/// An error at the field's type, where a condition of `<Type as KvValue>` holds.
fn refuse(
    Model { runtime, .. }: &Model,
    Field { name, ty, .. }: &Field,
    is_wrong: impl FnOnce(TokenStream) -> TokenStream,
    problem: &str,
) -> TokenStream {
    let is_wrong = is_wrong(quote!(<#ty as #runtime::KvValue>));
    let message = format!("`{name}` {problem}");
    let check = quote! {
        const _: () = if #is_wrong {
            ::core::panic!(#message)
        };
    };
    at_type(ty, check)
}
