//! The names of the fields, as an enum.

use proc_macro2::TokenStream;
use quote::quote;
use syn::Index;

use crate::model::Model;

// pub enum BookingField { Id, DriverId, … }
// impl BookingField { pub const ALL: [Self; 5] = [Self::Id, Self::DriverId, …]; }
// impl From<BookingField> for &'static str { … }
// impl Display for BookingField { … }
pub(super) fn expand(model: &Model) -> TokenStream {
    let Model { ident, visibility, .. } = model;
    let field_enum = model.field_ident();
    let variants = model.fields.iter().map(|field| &field.variant);
    let variants_again = variants.clone();
    let variant_docs = model.fields.iter().map(|field| format!(" `{}`.", field.name));
    let names = model.fields.iter().map(|field| &field.name);
    let count = Index::from(model.fields.len());
    let docs = format!(" The fields of [`{ident}`], by name, in the order they are declared in.");
    quote! {
        #[doc = #docs]
        #[automatically_derived]
        #[derive(
            ::core::fmt::Debug,
            ::core::clone::Clone,
            ::core::marker::Copy,
            ::core::cmp::PartialEq,
            ::core::cmp::Eq,
            ::core::hash::Hash,
        )]
        // `ab` and `a_b` have variants that differ in an underscore; not every one is used.
        #[allow(non_camel_case_types, dead_code)]
        #visibility enum #field_enum {
            #(
                #[doc = #variant_docs]
                #variants,
            )*
        }

        #[automatically_derived]
        #[allow(dead_code)] // Not every program lists the fields.
        impl #field_enum {
            /// Every field, in the order they are declared in.
            #visibility const ALL: [Self; #count] = [#(Self::#variants_again),*];
        }

        #[automatically_derived]
        impl ::core::convert::From<#field_enum> for &'static str {
            fn from(__field: #field_enum) -> Self {
                const NAMES: [&str; #count] = [#(#names),*];
                NAMES[__field as usize]
            }
        }

        #[automatically_derived]
        impl ::core::fmt::Display for #field_enum {
            fn fmt(&self, __f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                __f.pad(::core::convert::Into::into(*self))
            }
        }
    }
}
