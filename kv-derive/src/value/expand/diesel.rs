//! What makes the type a value of Diesel's: `AsExpression`, `ToSql`, `FromSql`, `Queryable`.

use proc_macro2::TokenStream;
use quote::quote;

use crate::value::model::{Newtype, TextEnum, Value};

// impl AsExpression<Text> for Status { type Expression = Bound<Text, Self>; … }
// … for &Status, and both for Nullable<Text>
// impl ToSql<Text, Pg> for Status { … ::kv_runtime::__private::write_text(self, __out) … }
// impl ToSql<Nullable<Text>, Pg> for Status { … }
// impl FromSql<Text, Pg> for Status { … ::kv_runtime::__private::read_text(&__value) … }
// impl Queryable<Text, Pg> for Status { … }
pub(super) fn expand_enum(value: &Value, text_enum: &TextEnum) -> TokenStream {
    let Value { ident, runtime, .. } = value;
    let sql_type = match &text_enum.sql_type {
        Some(path) => quote!(#path),
        None => quote!(diesel::sql_types::Text),
    };
    let nullable = quote!(diesel::sql_types::Nullable<#sql_type>);
    let expressions = [&sql_type, &nullable].map(|sql_type| {
        let by_value = as_expression(&quote!(#ident), sql_type);
        let by_reference = as_expression(&quote!(&#ident), sql_type);
        quote!(#by_value #by_reference)
    });
    let writers = [&sql_type, &nullable].map(|sql_type| {
        quote! {
            #[automatically_derived]
            impl diesel::serialize::ToSql<#sql_type, diesel::pg::Pg> for #ident {
                fn to_sql<'__b>(
                    &'__b self,
                    __out: &mut diesel::serialize::Output<'__b, '_, diesel::pg::Pg>,
                ) -> diesel::serialize::Result {
                    #runtime::__private::write_text(self, __out)
                }
            }
        }
    });
    quote! {
        #(#expressions)*

        #(#writers)*

        #[automatically_derived]
        impl diesel::deserialize::FromSql<#sql_type, diesel::pg::Pg> for #ident {
            fn from_sql(__value: diesel::pg::PgValue<'_>) -> diesel::deserialize::Result<Self> {
                #runtime::__private::read_text(&__value)
            }
        }

        #[automatically_derived]
        impl diesel::deserialize::Queryable<#sql_type, diesel::pg::Pg> for #ident {
            type Row = Self;

            fn build(__row: Self) -> diesel::deserialize::Result<Self> {
                ::core::result::Result::Ok(__row)
            }
        }
    }
}

fn as_expression(ty: &TokenStream, sql_type: &TokenStream) -> TokenStream {
    let bound = quote!(diesel::internal::derives::as_expression::Bound);
    quote! {
        #[automatically_derived]
        impl diesel::expression::AsExpression<#sql_type> for #ty {
            type Expression = #bound<#sql_type, Self>;

            fn as_expression(self) -> Self::Expression {
                #bound::new(self)
            }
        }
    }
}

// impl<ST> AsExpression<ST> for Reference where ST: SqlType + TypedExpressionType, … { … }
// … for &Reference
// impl<ST> ToSql<ST, Pg> for Reference where String: ToSql<ST, Pg> { … }
// impl<ST> FromSql<ST, Pg> for Reference where String: FromSql<ST, Pg> { … }
// impl<ST> Queryable<ST, Pg> for Reference where Self: FromSql<ST, Pg> { … }
//
// For every SQL type that its inner type is a value of, so that none has to be named.
pub(super) fn expand_newtype(value: &Value, newtype: &Newtype) -> TokenStream {
    let ident = &value.ident;
    let Newtype { field, ty } = newtype;
    let expressions = [quote!(#ident), quote!(&#ident)].map(|ty| as_any_expression(ident, &ty));
    quote! {
        #(#expressions)*

        #[automatically_derived]
        impl<__ST> diesel::serialize::ToSql<__ST, diesel::pg::Pg> for #ident
        where
            #ty: diesel::serialize::ToSql<__ST, diesel::pg::Pg>,
        {
            fn to_sql<'__b>(
                &'__b self,
                __out: &mut diesel::serialize::Output<'__b, '_, diesel::pg::Pg>,
            ) -> diesel::serialize::Result {
                diesel::serialize::ToSql::<__ST, _>::to_sql(&self.#field, __out)
            }
        }

        #[automatically_derived]
        impl<__ST> diesel::deserialize::FromSql<__ST, diesel::pg::Pg> for #ident
        where
            #ty: diesel::deserialize::FromSql<__ST, diesel::pg::Pg>,
        {
            fn from_sql(__value: diesel::pg::PgValue<'_>) -> diesel::deserialize::Result<Self> {
                diesel::deserialize::FromSql::<__ST, _>::from_sql(__value)
                    .map(|__inner| Self { #field: __inner })
            }

            // Of its own, because the inner type may have an answer to NULL.
            fn from_nullable_sql(
                __value: ::core::option::Option<diesel::pg::PgValue<'_>>,
            ) -> diesel::deserialize::Result<Self> {
                diesel::deserialize::FromSql::<__ST, _>::from_nullable_sql(__value)
                    .map(|__inner| Self { #field: __inner })
            }
        }

        #[automatically_derived]
        impl<__ST> diesel::deserialize::Queryable<__ST, diesel::pg::Pg> for #ident
        where
            __ST: diesel::sql_types::SingleValue,
            Self: diesel::deserialize::FromSql<__ST, diesel::pg::Pg>,
        {
            type Row = Self;

            fn build(__row: Self) -> diesel::deserialize::Result<Self> {
                ::core::result::Result::Ok(__row)
            }
        }
    }
}

fn as_any_expression(ident: &proc_macro2::Ident, ty: &TokenStream) -> TokenStream {
    let bound = quote!(diesel::internal::derives::as_expression::Bound);
    quote! {
        #[automatically_derived]
        impl<__ST> diesel::expression::AsExpression<__ST> for #ty
        where
            __ST: diesel::sql_types::SqlType + diesel::expression::TypedExpressionType,
            #ident: diesel::serialize::ToSql<__ST, diesel::pg::Pg>,
        {
            type Expression = #bound<__ST, Self>;

            fn as_expression(self) -> Self::Expression {
                #bound::new(self)
            }
        }
    }
}
