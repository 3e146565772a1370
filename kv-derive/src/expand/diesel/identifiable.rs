//! `HasTable` and `Identifiable`.

use proc_macro2::TokenStream;
use quote::quote;

use super::column_alias;
use crate::expand::{at, one_or_tuple};
use crate::model::{Field, Model};

// impl HasTable for Booking { type Table = table; … }
// impl<'a> Identifiable for &'a Booking where table: HasPrimaryKey<id_column> {
//     type Id = &'a Uuid;
//     fn id(self) -> Self::Id { &self.id }
// }
pub(super) fn expand(model: &Model) -> TokenStream {
    let Model { runtime, ident, .. } = model;
    let type_of = |field: &Field| {
        let ty = &field.ty;
        quote!(&'__a #ty)
    };
    let value_of = |field: &Field| {
        let ident = &field.ident;
        quote!(&self.#ident)
    };
    let id_type = one_or_tuple(model.id_fields().map(type_of));
    let id = one_or_tuple(model.id_fields().map(value_of));
    let key = one_or_tuple(model.id_fields().map(|field| {
        let column = column_alias(field);
        quote!(#column)
    }));
    // A message about the key leads to the first of its fields.
    let span = model.id_fields().next().map_or_else(|| ident.span(), |field| field.ident.span());
    let bound = at(span, quote!(table: #runtime::__private::HasPrimaryKey<#key>));
    quote! {
        #[automatically_derived]
        impl diesel::associations::HasTable for #ident {
            type Table = table;

            fn table() -> Self::Table {
                table
            }
        }

        #[automatically_derived]
        #[allow(deprecated)] // A deprecated field is read like the others.
        impl<'__a> diesel::associations::Identifiable for &'__a #ident
        where
            #bound,
        {
            type Id = #id_type;

            fn id(self) -> Self::Id {
                #id
            }
        }
    }
}
