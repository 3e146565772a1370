//! `Insertable`, by reference: one row as `&Booking`, many as `&Vec<Booking>`.

use proc_macro2::TokenStream;
use quote::quote;

use super::{column_alias, sql_type};
use crate::model::Model;

// impl<'a> Insertable<table> for &'a Booking where &'a Uuid: AsExpression<…>, … {
//     type Values = <(Eq<id_column, &'a Uuid>, …) as Insertable<table>>::Values;
//     fn values(self) -> Self::Values {
//         Insertable::values((id_column.eq(&self.id), …))
//     }
// }
// impl UndecoratedInsertRecord<table> for Booking {}
//
// Without what PostgreSQL fills. Only by reference, and every value as it is: `None` is NULL, never DEFAULT. The typing of
// these tuples is the dearest part of an expansion, and Diesel has no other way to a batch.
pub(super) fn expand(model: &Model) -> TokenStream {
    let ident = &model.ident;
    let bounds = model.written_fields().map(|field| {
        let (ty, sql_type) = (&field.ty, sql_type(field));
        quote!(&'__a #ty: diesel::expression::AsExpression<#sql_type>,)
    });
    let types = model.written_fields().map(|field| {
        let (ty, column) = (&field.ty, column_alias(field));
        quote!(diesel::dsl::Eq<#column, &'__a #ty>)
    });
    let values = model.written_fields().map(|field| {
        let (ident, column) = (&field.ident, column_alias(field));
        quote!(diesel::ExpressionMethods::eq(#column, &self.#ident))
    });
    quote! {
        #[automatically_derived]
        #[allow(deprecated)] // A deprecated field is written like the others.
        impl<'__a> diesel::insertable::Insertable<table> for &'__a #ident
        where
            #(#bounds)*
        {
            type Values = <(#(#types,)*) as diesel::insertable::Insertable<table>>::Values;

            fn values(self) -> Self::Values {
                diesel::insertable::Insertable::values((#(#values,)*))
            }
        }

        #[automatically_derived]
        impl diesel::internal::derives::insertable::UndecoratedInsertRecord<table> for #ident {}
    }
}
