//! The row's version, where the model has one.

use proc_macro2::TokenStream;
use quote::quote;

use super::at_type;
use crate::model::Model;

// impl ::kv_runtime::KvVersioned for Booking {
//     fn row_version(&self) -> i64 {
//         <i64 as ::kv_runtime::__private::VersionField>::as_version(&self.version)
//     }
// }
pub(super) fn expand(model: &Model) -> Option<TokenStream> {
    let runtime = &model.runtime;
    let field = &model.fields[model.version?];
    let (name, ty) = (&field.ident, &field.ty);
    // At the field, whose type may not be that of a version.
    let version = at_type(ty, quote!(<#ty as #runtime::__private::VersionField>::as_version));
    Some(with_body(model, &quote!(#version(&self.#name))))
}

/// One that compiles whatever the type of the field is.
pub(super) fn expand_empty(model: &Model) -> Option<TokenStream> {
    model.version.map(|_| with_body(model, &quote!(::core::unreachable!())))
}

fn with_body(model: &Model, body: &TokenStream) -> TokenStream {
    let Model { runtime, ident, .. } = model;
    quote! {
        #[automatically_derived]
        #[allow(deprecated)] // A deprecated field is stored like the others.
        impl #runtime::KvVersioned for #ident {
            fn row_version(&self) -> i64 {
                #body
            }
        }
    }
}
