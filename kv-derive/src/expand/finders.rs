//! The repository's methods for the model's indexes.

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::{Index, Type};

use super::at_type;
use crate::model::{Field, Model, ModelIndex};

// pub struct BookingFinders(::kv_runtime::Lookup<Booking>);
// impl From<::kv_runtime::Lookup<Booking>> for BookingFinders { … }
// impl BookingFinders {
//     pub async fn find_by_reference(&self, …) -> Result<Option<Booking>, ::kv_runtime::Error> { … }
//     pub async fn get_by_reference(&self, …) -> Result<Booking, ::kv_runtime::Error> { … }
//     pub async fn get_or_create_by_reference(&self, row: &Booking) -> … { … }
//     pub async fn upsert_by_reference(&self, row: &Booking) -> … { … }
//     pub fn list_by_driver_id(&self, …) -> ::kv_runtime::Query<Booking> { … }
// }
pub(super) fn expand(model: &Model) -> Option<TokenStream> {
    let unique = model.unique.iter().enumerate().filter(|(_, index)| is_of_all_rows(index));
    let unique = unique.map(|(position, index)| unique_methods(model, position, index));
    let indexes = model.indexes.iter().filter(|index| is_of_all_rows(index));
    let lists = indexes.map(|index| list_by(model, index));
    with_methods(model, quote!(#(#unique)* #(#lists)*))
}

/// Of an index of some rows there is no method: a query is not told its SQL condition, so that it
/// would answer other rows as well, and PostgreSQL could not take the index for it.
fn is_of_all_rows(index: &ModelIndex) -> bool {
    index.when.is_none()
}

/// Without the methods, which name the types of fields.
pub(super) fn expand_empty(model: &Model) -> Option<TokenStream> {
    with_methods(model, TokenStream::new())
}

fn with_methods(model: &Model, methods: TokenStream) -> Option<TokenStream> {
    let Model { runtime, ident, visibility, .. } = model;
    let finders = has_any(model).then(|| model.finders_ident())?;
    let docs =
        format!(" What [`{ident}`] is found by beside its id; its repository has these methods.");
    Some(quote! {
        #[doc = #docs]
        #[automatically_derived]
        #[derive(::core::fmt::Debug, ::core::clone::Clone)]
        #visibility struct #finders(#runtime::Lookup<#ident>);

        #[automatically_derived]
        impl ::core::convert::From<#runtime::Lookup<#ident>> for #finders {
            fn from(__lookup: #runtime::Lookup<#ident>) -> Self {
                Self(__lookup)
            }
        }

        #[automatically_derived]
        #[allow(dead_code)] // Not every one is called.
        impl #finders {
            #methods
        }
    })
}

/// The type of the finders.
pub(super) fn expand_type(model: &Model) -> TokenStream {
    let Model { runtime, ident, .. } = model;
    match has_any(model) {
        true => {
            let finders = model.finders_ident();
            quote!(#finders)
        }
        false => quote!(#runtime::Lookup<#ident>),
    }
}

fn has_any(model: &Model) -> bool {
    model.unique.iter().chain(&model.indexes).any(is_of_all_rows)
}

/// The fields of an index with the parameters that stand for them.
fn parameters<'a>(model: &'a Model, index: &'a ModelIndex) -> (Vec<&'a Field>, TokenStream) {
    let runtime = &model.runtime;
    let fields: Vec<&Field> = index.fields.iter().map(|&at| &model.fields[at]).collect();
    let parameters = fields.iter().map(|field| {
        let (ident, ty) = (parameter(field), not_null(model, &field.ty));
        quote!(#ident: impl #runtime::IntoValue<#ty>)
    });
    let parameters = quote!(#(#parameters),*);
    (fields, parameters)
}

// Not the field's own name, which may be that of a column in scope, which no parameter can shadow.
fn parameter(field: &Field) -> Ident {
    Ident::new(&format!("{}_value", field.name), field.ident.span())
}

/// What is in the field's `Option`, if it is one.
fn not_null(model: &Model, ty: &Type) -> TokenStream {
    let runtime = &model.runtime;
    at_type(ty, quote!(<#ty as #runtime::KvValue>::NotNull))
}

fn method(model: &Model, prefix: &str, index: &ModelIndex) -> Ident {
    Ident::new(&format!("{prefix}_by_{}", index.name), model.ident.span())
}

/// ` and `-joined names in backquotes.
fn names(fields: &[&Field]) -> String {
    let names: Vec<String> = fields.iter().map(|field| format!("`{}`", field.name)).collect();
    names.join(" and ")
}

fn unique_methods(model: &Model, position: usize, index: &ModelIndex) -> TokenStream {
    let Model { runtime, ident, visibility, .. } = model;
    let (fields, parameters) = parameters(model, index);
    let lines = fields.iter().map(|field| {
        let (ident, name, ty) = (parameter(field), &field.name, not_null(model, &field.ty));
        quote! {
            __row.field(#name, &<_ as #runtime::IntoValue<#ty>>::into_value(#ident))?;
        }
    });
    let values = quote! {
        let __values = |__row: &mut #runtime::RowEncoder| {
            #(#lines)*
            ::core::result::Result::Ok(())
        };
    };
    let position = Index::from(position);
    let [find, get, get_or_create, upsert] =
        ["find", "get", "get_or_create", "upsert"].map(|prefix| method(model, prefix, index));
    let names = names(&fields);
    let find_docs = format!(" The row with this {names}, if there is one, drained or not.");
    let get_docs = format!(" The row with this {names}, drained or not.");
    let get_or_create_docs = format!(
        " The row that has the {names} of the given one; if none has, the given one is created."
    );
    let upsert_docs = format!(
        " Replaces the row that has the {names} of the given one, which keeps its id; if none has, \
         the given one is created. Answers the row as it is then."
    );
    let error = quote!(#runtime::Error);
    quote! {
        #[doc = #find_docs]
        ///
        /// # Errors
        /// Those of a connection.
        #visibility async fn #find(
            &self,
            #parameters,
        ) -> ::core::result::Result<::core::option::Option<#ident>, #error> {
            #values
            self.0.find_by(#position, __values).await
        }

        #[doc = #get_docs]
        ///
        /// # Errors
        /// `NotFoundBy` if there is none, and those of a connection.
        #visibility async fn #get(
            &self,
            #parameters,
        ) -> ::core::result::Result<#ident, #error> {
            #values
            self.0.get_by(#position, __values).await
        }

        #[doc = #get_or_create_docs]
        ///
        /// # Errors
        /// Those of `create`.
        #visibility async fn #get_or_create(
            &self,
            row: &#ident,
        ) -> ::core::result::Result<#runtime::GotOrCreated<#ident>, #error> {
            self.0.get_or_create_by(#position, row).await
        }

        #[doc = #upsert_docs]
        ///
        /// # Errors
        /// Those of `upsert`.
        #visibility async fn #upsert(
            &self,
            row: &#ident,
        ) -> ::core::result::Result<(#ident, #runtime::Receipt), #error> {
            self.0.upsert_by(#position, row).await
        }
    }
}

fn list_by(model: &Model, index: &ModelIndex) -> TokenStream {
    let Model { runtime, ident, visibility, .. } = model;
    let (fields, parameters) = parameters(model, index);
    let list = method(model, "list", index);
    let docs = format!(" A query for the rows with this {}.", names(&fields));
    let conditions = fields.iter().map(|field| {
        let (ident, ty) = (&field.ident, not_null(model, &field.ty));
        let parameter = parameter(field);
        let value = quote!(<_ as #runtime::IntoValue<#ty>>::into_value(#parameter));
        quote!(.filter(|__fields| __fields.#ident.eq(#value)))
    });
    quote! {
        #[doc = #docs]
        #visibility fn #list(&self, #parameters) -> #runtime::Query<#ident> {
            self.0.query()#(#conditions)*
        }
    }
}
