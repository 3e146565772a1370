//! The fields as constants, for queries.

use proc_macro2::TokenStream;
use quote::quote;
use syn::Index;

use crate::model::{Field, Model};

// pub struct BookingFields { pub driver_id: ::kv_runtime::Field<Booking, Option<Uuid>>, … }
pub(super) fn expand(model: &Model) -> TokenStream {
    let Model { ident, visibility, .. } = model;
    let fields = model.fields_ident();
    let docs =
        format!(" The fields of [`{ident}`] in queries: what the closures of a query are given.");
    let lines = model.fields.iter().map(|field| line(model, field));
    quote! {
        #[doc = #docs]
        #[automatically_derived]
        #[derive(::core::fmt::Debug, ::core::clone::Clone, ::core::marker::Copy)]
        #[allow(dead_code)] // Not every field is asked for.
        #visibility struct #fields {
            #(#lines,)*
        }
    }
}

fn line(model: &Model, field: &Field) -> TokenStream {
    let (Model { runtime, ident: model, .. }, Field { ident, visibility, ty, docs, .. }) =
        (model, field);
    let own_docs = format!(" The field `{}`.", field.name);
    let separator = (!docs.is_empty()).then(|| quote!(#[doc = ""]));
    quote! {
        #(#[doc = #docs])*
        #separator
        #[doc = #own_docs]
        #visibility #ident: #runtime::Field<#model, #ty>
    }
}

// BookingFields { id: ::kv_runtime::Field::at(0), driver_id: ::kv_runtime::Field::at(1), … }
pub(super) fn expand_value(model: &Model) -> TokenStream {
    let runtime = &model.runtime;
    let fields = model.fields_ident();
    let names = model.fields.iter().map(|field| &field.ident);
    let positions = (0..model.fields.len()).map(Index::from);
    quote!(#fields { #(#names: #runtime::Field::at(#positions),)* })
}
