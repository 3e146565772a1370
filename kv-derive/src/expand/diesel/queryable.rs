//! `Queryable` and `Selectable`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::Index;

use super::{column_alias, column_bounds};
use crate::model::Model;

// impl<ST> Queryable<ST, Pg> for Booking where (Uuid, …): FromStaticSqlRow<ST, Pg> {
//     type Row = (Uuid, …);
//     fn build(__row: Self::Row) -> Result<Self> { Ok(Self { id: __row.0, … }) }
// }
// impl Selectable<Pg> for Booking where Uuid: FitsColumn<…>, … {
//     type SelectExpression = (id_column, …);
//     fn construct_selection() -> Self::SelectExpression { (id_column, …) }
// }
pub(super) fn expand(model: &Model) -> TokenStream {
    let ident = &model.ident;
    let types = model.fields.iter().map(|field| &field.ty);
    let row = quote!((#(#types,)*));
    let fields = model.fields.iter().map(|field| &field.ident);
    let positions = (0..model.fields.len()).map(Index::from);
    let columns = model.fields.iter().map(column_alias);
    let selection = quote!((#(#columns,)*));
    let bounds = column_bounds(model, model.fields.iter());
    quote! {
        #[automatically_derived]
        #[allow(deprecated)] // A deprecated field is read like the others.
        impl<__ST> diesel::deserialize::Queryable<__ST, diesel::pg::Pg> for #ident
        where
            #row: diesel::deserialize::FromStaticSqlRow<__ST, diesel::pg::Pg>,
        {
            type Row = #row;

            fn build(__row: Self::Row) -> diesel::deserialize::Result<Self> {
                ::core::result::Result::Ok(Self { #(#fields: __row.#positions,)* })
            }
        }

        #[automatically_derived]
        impl diesel::expression::Selectable<diesel::pg::Pg> for #ident
        where
            #bounds
        {
            type SelectExpression = #selection;

            fn construct_selection() -> Self::SelectExpression {
                #selection
            }
        }
    }
}
