//! The patch: what to change, with "set to NULL" and "leave alone" apart.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Index, Type};

use super::at_type;
use super::kv_model::value_bounds;
use crate::attribute::{argument_of, ungroup};
use crate::model::{Field, Model};

// pub struct BookingPatch { driver_id: Option<Option<Uuid>>, … }
// impl Booking { pub fn patch() -> BookingPatch { … } }
// impl BookingPatch {
//     pub fn driver_id(mut self, new_value: Option<Uuid>) -> Self { … }
//     pub fn reference(mut self, new_value: impl Into<String>) -> Self { … }
//     pub fn note(mut self, new_value: impl ::kv_runtime::IntoValue<Option<String>>) -> Self { … }
//     …
// }
pub(super) fn expand(model: &Model) -> TokenStream {
    let Model { ident, visibility, .. } = model;
    let patch = model.patch_ident();
    let docs = format!(" A change of some fields of a [`{ident}`]; begin with [`{ident}::patch`].");
    let fields = model.patch_fields().map(|(_, field)| &field.ident);
    let types = model.patch_fields().map(|(_, field)| &field.ty);
    let setters = model.patch_fields().map(|(_, field)| setter(model, field));
    quote! {
        #[doc = #docs]
        ///
        /// A field whose setter is not called is left alone; one that is set to `None` becomes
        /// NULL.
        #[must_use = "a patch changes nothing until it is given to the repository"]
        #[automatically_derived]
        #[derive(::core::fmt::Debug, ::core::clone::Clone, ::core::default::Default)]
        #visibility struct #patch {
            #(#fields: ::core::option::Option<#types>,)*
        }

        #[automatically_derived]
        #[allow(dead_code)] // Not every model is patched.
        impl #ident {
            /// A patch that changes nothing yet.
            #visibility fn patch() -> #patch {
                ::core::default::Default::default()
            }
        }

        #[automatically_derived]
        #[allow(dead_code)] // Not every field is patched.
        impl #patch {
            #(#setters)*
        }
    }
}

// `new_value`, because a name such as `value` may be that of a column in scope, which no
// parameter can shadow.
fn setter(model: &Model, field: &Field) -> TokenStream {
    let Field { ident, visibility, docs, .. } = field;
    let own_docs = format!(" Sets `{}`.", field.name);
    let separator = (!docs.is_empty()).then(|| quote!(#[doc = ""]));
    let (parameter, value) = parameter(model, &field.ty);
    quote! {
        #(#[doc = #docs])*
        #separator
        #[doc = #own_docs]
        #visibility fn #ident(mut self, new_value: #parameter) -> Self {
            self.#ident = ::core::option::Option::Some(#value);
            self
        }
    }
}

/// What a setter takes, and how it becomes the field's value: of a text, all that it can be made
/// of, and of any other type, that type alone, so that a literal or an `into()` knows its own.
fn parameter(model: &Model, ty: &Type) -> (TokenStream, TokenStream) {
    let runtime = &model.runtime;
    if is_text(ty) {
        let into = at_type(ty, quote!(::core::convert::Into));
        return (quote!(impl #into<#ty>), quote!(::core::convert::Into::into(new_value)));
    }
    if argument_of(ty, "Option").is_some_and(is_text) {
        // Not `Into`, by which no `&str` becomes an `Option<String>`.
        let into = at_type(ty, quote!(#runtime::IntoValue));
        return (quote!(impl #into<#ty>), quote!(#runtime::IntoValue::into_value(new_value)));
    }
    (quote!(#ty), quote!(new_value))
}

/// By its name: whatever else has that name can be made of itself, and is so.
fn is_text(ty: &Type) -> bool {
    matches!(ungroup(ty), Type::Path(path)
        if path.path.segments.last().is_some_and(|last| last.ident == "String"))
}

// impl ::kv_runtime::KvPatch for BookingPatch {
//     fn encode(&self, …) {
//         if let Some(__value) = &self.driver_id {
//             __patch.set(<Booking as ::kv_runtime::KvModel>::DESCRIPTOR, 1, __value)?;
//         }
//         …
//     }
// }
pub(super) fn expand_kv_patch(model: &Model) -> TokenStream {
    let Model { runtime, ident, .. } = model;
    let patch = model.patch_ident();
    let bounds = value_bounds(model);
    let lines = model.patch_fields().map(|(position, field)| {
        let (field, position) = (&field.ident, Index::from(position));
        quote! {
            if let ::core::option::Option::Some(__value) = &self.#field {
                __patch.set(<#ident as #runtime::KvModel>::DESCRIPTOR, #position, __value)?;
            }
        }
    });
    // A model of nothing but its id has nothing to patch.
    let unused = model.patch_fields().next().is_none().then(|| quote!(let _ = __patch;));
    quote! {
        #[automatically_derived]
        impl #runtime::KvPatch for #patch
        where
            #bounds
        {
            fn encode(
                &self,
                __patch: &mut #runtime::EncodedPatch,
            ) -> ::core::result::Result<(), #runtime::FieldError> {
                #unused
                #(#lines)*
                ::core::result::Result::Ok(())
            }
        }
    }
}
