//! A new row: what the user gives of it, and how the rest is filled in.

use proc_macro2::TokenStream;
use quote::quote;

use super::at_type;
use crate::model::{Field, Model};

// pub struct NewBooking { pub reference: String, … }
pub(super) fn expand(model: &Model) -> Option<TokenStream> {
    let Model { ident, visibility, .. } = model;
    let new_row = model.new_row_ident()?;
    let docs = format!(
        " What is given of a new [`{ident}`]; the rest is filled in: see `Repository::create_new`."
    );
    let fields = model.given_fields().map(|Field { ident, visibility, ty, docs, .. }| {
        quote!(#(#[doc = #docs])* #visibility #ident: #ty)
    });
    Some(quote! {
        #[doc = #docs]
        #[automatically_derived]
        #[derive(::core::fmt::Debug, ::core::clone::Clone)]
        #[allow(dead_code)] // Not every program makes one.
        #visibility struct #new_row {
            #(#fields,)*
        }
    })
}

// const _: () = if !::kv_runtime::__private::is_integer(<i64 as ::kv_runtime::KvValue>::TYPE) {
//     ::core::panic!("`id` is serial, so it is an integer")
// };
// impl ::kv_runtime::KvSerial for Booking {
//     fn serial_id(__serial: i64) -> Result<i64, …> {
//         ::kv_runtime::__private::serial("id", __serial)
//     }
// }
// impl ::kv_runtime::KvNewRow for NewBooking {
//     type Model = Booking;
//     fn into_model(self, __serial: i64) -> Result<Booking, …> {
//         Ok(Booking {
//             id: ::kv_runtime::KvSerial::serial_id(__serial)?,
//             reference: self.reference,
//             created_at: Utc::now(),
//             …
//         })
//     }
// }
pub(super) fn expand_traits(model: &Model) -> Option<TokenStream> {
    let check = model.serial.map(|serial| is_integer(model, &model.fields[serial]));
    let lines = model.fields.iter().enumerate().map(|(at, field)| line(model, at, field));
    let body = quote!(::core::result::Result::Ok(Self::Model { #(#lines,)* }));
    let traits = with_bodies(model, &body)?;
    Some(quote!(#check #traits))
}

/// Those that compile whatever the types of the fields are.
pub(super) fn expand_empty_traits(model: &Model) -> Option<TokenStream> {
    with_bodies(model, &quote!(::core::unreachable!()))
}

fn with_bodies(model: &Model, into_model: &TokenStream) -> Option<TokenStream> {
    let Model { runtime, ident, .. } = model;
    let new_row = model.new_row_ident()?;
    let serial = model.serial.map(|serial| {
        let name = &model.fields[serial].name;
        quote! {
            #[automatically_derived]
            impl #runtime::KvSerial for #ident {
                fn serial_id(
                    __serial: i64,
                ) -> ::core::result::Result<Self::Id, #runtime::FieldError> {
                    #runtime::__private::serial(#name, __serial)
                }
            }
        }
    });
    Some(quote! {
        #serial

        #[automatically_derived]
        #[allow(deprecated)] // A deprecated field is stored like the others.
        impl #runtime::KvNewRow for #new_row {
            type Model = #ident;

            fn into_model(
                self,
                __serial: i64,
            ) -> ::core::result::Result<Self::Model, #runtime::FieldError> {
                #into_model
            }
        }
    })
}

fn line(model: &Model, at: usize, field: &Field) -> TokenStream {
    let (runtime, ident) = (&model.runtime, &field.ident);
    if model.serial == Some(at) {
        let model = &model.ident;
        return quote!(#ident: <#model as #runtime::KvSerial>::serial_id(__serial)?);
    }
    if model.version == Some(at) || field.is_read_only {
        return quote!(#ident: ::core::default::Default::default());
    }
    match &field.default {
        Some(default) => quote!(#ident: #default),
        None => quote!(#ident: self.#ident),
    }
}

fn is_integer(model: &Model, field: &Field) -> TokenStream {
    let runtime = &model.runtime;
    let ty = &field.ty;
    let message = format!("`{}` is serial, so it is an integer", field.name);
    let check = quote! {
        const _: () = if !#runtime::__private::is_integer(<#ty as #runtime::KvValue>::TYPE) {
            ::core::panic!(#message)
        };
    };
    at_type(ty, check)
}
