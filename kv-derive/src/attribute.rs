//! The grammar of `#[kv(…)]`, whatever it stands on: `name`, `name = value`, `name(…)`.
//!
//! Never panics and never stops at the first mistake.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{
    Attribute, Error, Expr, GenericArgument, Lit, LitInt, LitStr, Meta, Path, PathArguments,
    Result, Token, Type, token,
};

use crate::diagnostics::{Diagnostics, name_list, similar_name};

/// An attribute that a place understands.
pub(crate) struct Known {
    pub(crate) name: &'static str,
    /// How it is written with its value, for the message about one of the wrong kind; `None` if it
    /// has none.
    pub(crate) written: Option<&'static str>,
    /// Whether it can be given several times.
    pub(crate) repeats: bool,
    /// Whether its value is any expression.
    pub(crate) is_expression: bool,
}

impl Known {
    /// An attribute without a value.
    pub(crate) const fn flag(name: &'static str) -> Self {
        Self { name, written: None, repeats: false, is_expression: false }
    }

    /// An attribute that may have `true` or `false` as its value.
    pub(crate) const fn choice(name: &'static str, written: &'static str) -> Self {
        Self { name, written: Some(written), repeats: false, is_expression: false }
    }

    /// An attribute that is given once at most.
    pub(crate) const fn once(name: &'static str, written: &'static str) -> Self {
        Self { name, written: Some(written), repeats: false, is_expression: false }
    }

    /// An attribute whose value is any expression.
    pub(crate) const fn expression(name: &'static str, written: &'static str) -> Self {
        Self { name, written: Some(written), repeats: false, is_expression: true }
    }

    /// An attribute that can be given several times.
    pub(crate) const fn repeated(name: &'static str, written: &'static str) -> Self {
        Self { name, written: Some(written), repeats: true, is_expression: false }
    }
}

/// What an attribute can stand on.
pub(crate) struct Place {
    /// With its article, for messages.
    pub(crate) name: &'static str,
    pub(crate) known: &'static [Known],
    /// Where an attribute that is unknown here may belong instead.
    pub(crate) elsewhere: &'static [&'static Place],
}

impl Place {
    fn find(&self, name: &str) -> Option<&'static Known> {
        self.known.iter().find(|known| known.name == name)
    }

    fn names(&self) -> impl Iterator<Item = &'static str> {
        self.known.iter().map(|known| known.name)
    }

    fn says_nothing(&self) -> String {
        format!("name an attribute in `#[kv(…)]`; {} has {}", self.name, name_list(self.names()))
    }

    fn unknown(&self, name: &str) -> String {
        if let Some(place) = self.elsewhere.iter().find(|place| place.find(name).is_some()) {
            return format!("`{name}` is an attribute of {}, not of {}", place.name, self.name);
        }
        match similar_name(name, self.names()) {
            Some(similar) => format!("unknown attribute `{name}`; did you mean `{similar}`?"),
            None => {
                format!("unknown attribute `{name}`; {} has {}", self.name, name_list(self.names()))
            }
        }
    }
}

/// The known attributes of one item, each as often as it can be given.
pub(crate) struct Attributes {
    items: Vec<Item>,
}

impl Attributes {
    /// Reads all `#[kv(…)]` among an item's attributes.
    pub(crate) fn read(
        attributes: &[Attribute],
        place: &'static Place,
        diagnostics: &mut Diagnostics,
    ) -> Self {
        let mut items: Vec<Item> = Vec::new();
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("kv")) {
            let Meta::List(list) = &attribute.meta else {
                diagnostics.error(&attribute.meta, place.says_nothing());
                continue;
            };
            if list.tokens.is_empty() {
                diagnostics.error(list, place.says_nothing());
            }
            let read = |input: ParseStream<'_>| {
                read_items(input, place, &mut items, diagnostics);
                Ok(())
            };
            // The closure collects its mistakes and takes all of the input.
            let read = read.parse2(list.tokens.clone());
            diagnostics.ok(read);
        }
        Self { items }
    }

    /// Whether an attribute without a value was given, and where.
    ///
    /// With a value, it is a mistake, but it was given: nobody needs to be told to add it.
    pub(crate) fn flag(&mut self, name: &str, diagnostics: &mut Diagnostics) -> Option<Span> {
        let item = self.take(name)?;
        let span = item.name.span();
        diagnostics.ok(item.flag());
        Some(span)
    }

    /// An attribute that is true without a value, and where it was given.
    pub(crate) fn choice(
        &mut self,
        name: &str,
        diagnostics: &mut Diagnostics,
    ) -> Option<(Span, bool)> {
        let item = self.take(name)?;
        let span = item.name.span();
        Some((span, diagnostics.ok(item.choice()).unwrap_or(true)))
    }

    /// An attribute with a quoted value: `rename = "…"`.
    pub(crate) fn text(&mut self, name: &str, diagnostics: &mut Diagnostics) -> Option<LitStr> {
        diagnostics.ok(self.take(name)?.text())
    }

    /// An attribute with a path, quoted or not: `crate = path` and `crate = "path"`.
    pub(crate) fn path(&mut self, name: &str, diagnostics: &mut Diagnostics) -> Option<Path> {
        diagnostics.ok(self.take(name)?.path())
    }

    /// An attribute with a path, or with a quoted value that is something else.
    pub(crate) fn text_or_path(
        &mut self,
        name: &str,
        diagnostics: &mut Diagnostics,
    ) -> Option<TextOrPath> {
        diagnostics.ok(self.take(name)?.text_or_path())
    }

    /// An attribute with a number or a quoted value: `ttl = 900` and `ttl = "15m"`.
    pub(crate) fn number_or_text(
        &mut self,
        name: &str,
        diagnostics: &mut Diagnostics,
    ) -> Option<NumberOrText> {
        diagnostics.ok(self.take(name)?.number_or_text())
    }

    /// An attribute with one name or several: `partition_by = a` and `partition_by(a, b)`.
    pub(crate) fn names(
        &mut self,
        name: &str,
        diagnostics: &mut Diagnostics,
    ) -> Option<Vec<Ident>> {
        diagnostics.ok(self.take(name)?.names())
    }

    /// Every `index(a, b, when = "…")`, or with another word for `when`.
    pub(crate) fn field_lists(
        &mut self,
        name: &str,
        word: &'static str,
        diagnostics: &mut Diagnostics,
    ) -> Vec<FieldListInput> {
        let mut lists = Vec::new();
        while let Some(item) = self.take(name) {
            lists.extend(diagnostics.ok(item.field_list(word)));
        }
        lists
    }

    /// Every `check = "…"`.
    pub(crate) fn texts(&mut self, name: &str, diagnostics: &mut Diagnostics) -> Vec<LitStr> {
        let mut texts = Vec::new();
        while let Some(item) = self.take(name) {
            texts.extend(diagnostics.ok(item.text()));
        }
        texts
    }

    /// An attribute with any expression: `default = Utc::now()`.
    pub(crate) fn expression(&mut self, name: &str, diagnostics: &mut Diagnostics) -> Option<Expr> {
        diagnostics.ok(self.take(name)?.expression())
    }

    /// The first one; the others keep their order.
    fn take(&mut self, name: &str) -> Option<Item> {
        let position = self.items.iter().position(|item| item.known.name == name)?;
        Some(self.items.remove(position))
    }
}

fn read_items(
    input: ParseStream<'_>,
    place: &'static Place,
    items: &mut Vec<Item>,
    diagnostics: &mut Diagnostics,
) {
    while !input.is_empty() {
        match read_item(input, place) {
            Ok(item)
                if !item.known.repeats
                    && items.iter().any(|other| other.known.name == item.known.name) =>
            {
                let message = format!("`{}` is given twice; remove one", item.known.name);
                diagnostics.error(&item.name, message);
            }
            Ok(item) => items.push(item),
            Err(error) => {
                diagnostics.push(error);
                skip_to_comma(input);
            }
        }
        if !input.is_empty() && !input.peek(Token![,]) {
            diagnostics.push(input.error("expected `,`"));
            skip_to_comma(input);
        }
        // A missing one was reported above, or the input is at its end.
        let _ = input.parse::<Option<Token![,]>>();
    }
}

fn read_item(input: ParseStream<'_>, place: &'static Place) -> Result<Item> {
    // Any identifier, because `crate` is a keyword.
    let name = Ident::parse_any(input)
        .map_err(|error| Error::new(error.span(), "expected the name of an attribute"))?;
    let text = name.unraw().to_string();
    let known = place.find(&text);
    let value = if known.is_some_and(|known| known.is_expression) && input.peek(Token![=]) {
        input.parse::<Token![=]>()?;
        Value::Expression(input.parse()?)
    } else {
        read_value(input, &name)?
    };
    match known {
        Some(known) => Ok(Item { known, name, value }),
        None => Err(Error::new(name.span(), place.unknown(&text))),
    }
}

fn read_value(input: ParseStream<'_>, name: &Ident) -> Result<Value> {
    if input.peek(token::Paren) {
        let content;
        syn::parenthesized!(content in input);
        return Ok(Value::List(content.parse()?));
    }
    if !input.peek(Token![=]) {
        return Ok(Value::None);
    }
    input.parse::<Token![=]>()?;
    if input.is_empty() || input.peek(Token![,]) {
        return Err(Error::new(name.span(), format!("`{name}` has no value behind its `=`")));
    }
    if input.fork().parse::<Lit>().is_ok() {
        return Ok(Value::Literal(input.parse()?));
    }
    if input.fork().parse::<Type>().is_ok() {
        return Ok(Value::Type(ungroup(&input.parse()?).clone()));
    }
    Ok(Value::Other(skip_to_comma(input)))
}

/// Takes a type out of the invisible parentheses that a `macro_rules!` puts around it.
pub(crate) fn ungroup(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => ungroup(&group.elem),
        other => other,
    }
}

/// What stands between the angle brackets of a type of this name.
pub(crate) fn argument_of<'a>(ty: &'a Type, name: &str) -> Option<&'a Type> {
    let Type::Path(path) = ungroup(ty) else { return None };
    let last = path.path.segments.last().filter(|last| last.ident == name)?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    match arguments.args.first()? {
        GenericArgument::Type(argument) => Some(argument),
        _ => None,
    }
}

fn skip_to_comma(input: ParseStream<'_>) -> TokenStream {
    let mut skipped = TokenStream::new();
    while !input.is_empty() && !input.peek(Token![,]) {
        match input.parse::<TokenTree>() {
            Ok(tree) => skipped.extend([tree]),
            Err(_) => break,
        }
    }
    skipped
}

/// One attribute with the value as it was written.
struct Item {
    known: &'static Known,
    name: Ident,
    value: Value,
}

enum Value {
    None,
    Literal(Lit),
    Type(Type),
    List(TokenStream),
    Expression(Box<Expr>),
    Other(TokenStream),
}

/// Fields, and what is said of them: the rows that an index is about, what a key refers to.
pub(crate) struct FieldListInput {
    /// Where it was written.
    pub(crate) at: Ident,
    pub(crate) fields: Vec<Ident>,
    /// The quoted value behind them.
    pub(crate) text: Option<LitStr>,
}

impl FieldListInput {
    fn parse(at: Ident, word: &str, input: ParseStream<'_>) -> Result<Self> {
        let mut fields = Vec::new();
        let mut text = None;
        while !input.is_empty() {
            let name: Ident = input.parse()?;
            if name == word && input.peek(Token![=]) {
                input.parse::<Token![=]>()?;
                text = Some(input.parse()?);
            } else {
                fields.push(name);
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(Self { at, fields, text })
    }
}

/// A value that is either quoted or a path.
pub(crate) enum TextOrPath {
    Text(LitStr),
    Path(Path),
}

/// A value that is either a number or quoted.
pub(crate) enum NumberOrText {
    Number(LitInt),
    Text(LitStr),
}

impl Item {
    fn flag(self) -> Result<()> {
        match &self.value {
            Value::None => Ok(()),
            _ => Err(self.wrong()),
        }
    }

    fn choice(self) -> Result<bool> {
        match &self.value {
            Value::None => Ok(true),
            Value::Literal(Lit::Bool(choice)) => Ok(choice.value),
            _ => Err(self.wrong()),
        }
    }

    fn text(self) -> Result<LitStr> {
        match self.value {
            Value::Literal(Lit::Str(text)) => Ok(text),
            _ => Err(self.wrong()),
        }
    }

    fn path(self) -> Result<Path> {
        match &self.value {
            Value::Type(Type::Path(ty)) if ty.qself.is_none() => Ok(ty.path.clone()),
            Value::Literal(Lit::Str(text)) => {
                text.parse_with(Path::parse_mod_style).map_err(|_| self.wrong())
            }
            _ => Err(self.wrong()),
        }
    }

    fn text_or_path(self) -> Result<TextOrPath> {
        match self.value {
            Value::Literal(Lit::Str(text)) => Ok(TextOrPath::Text(text)),
            _ => self.path().map(TextOrPath::Path),
        }
    }

    fn number_or_text(self) -> Result<NumberOrText> {
        match self.value {
            Value::Literal(Lit::Int(number)) => Ok(NumberOrText::Number(number)),
            Value::Literal(Lit::Str(text)) => Ok(NumberOrText::Text(text)),
            _ => Err(self.wrong()),
        }
    }

    fn names(self) -> Result<Vec<Ident>> {
        let names = match &self.value {
            Value::Type(Type::Path(ty)) if ty.qself.is_none() => {
                ty.path.get_ident().map(|name| vec![name.clone()])
            }
            Value::List(tokens) => Punctuated::<Ident, Token![,]>::parse_terminated
                .parse2(tokens.clone())
                .map(|names| names.into_iter().collect())
                .ok(),
            _ => None,
        };
        names.filter(|names| !names.is_empty()).ok_or_else(|| self.wrong())
    }

    fn field_list(self, word: &str) -> Result<FieldListInput> {
        let list = match &self.value {
            Value::List(tokens) => {
                let at = self.name.clone();
                let parse = |input: ParseStream<'_>| FieldListInput::parse(at, word, input);
                parse.parse2(tokens.clone()).ok()
            }
            _ => None,
        };
        list.filter(|list| !list.fields.is_empty()).ok_or_else(|| self.wrong())
    }

    fn expression(self) -> Result<Expr> {
        match self.value {
            Value::Expression(expression) => Ok(*expression),
            _ => Err(self.wrong()),
        }
    }

    /// Says how the attribute is written.
    fn wrong(&self) -> Error {
        let message = match self.known.written {
            Some(written) => format!("write it as {written}"),
            None => format!("write it as `{}`, without a value", self.known.name),
        };
        match &self.value {
            Value::None => Error::new(self.name.span(), message),
            Value::Literal(literal) => Error::new_spanned(literal, message),
            Value::Type(ty) => Error::new_spanned(ty, message),
            Value::Expression(expression) => Error::new_spanned(expression, message),
            Value::List(tokens) | Value::Other(tokens) if !tokens.is_empty() => {
                Error::new_spanned(tokens, message)
            }
            Value::List(_) | Value::Other(_) => Error::new(self.name.span(), message),
        }
    }
}

/// The doc comments of an item, as the values of its `#[doc = …]`.
pub(crate) fn docs(attributes: &[Attribute]) -> Vec<Expr> {
    attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("doc"))
        .filter_map(|attribute| match &attribute.meta {
            Meta::NameValue(doc) => Some(doc.value.clone()),
            // `#[doc(hidden)]` and its like say something about the field, not the setter.
            _ => None,
        })
        .collect()
}

/// Refuses what the rows of a table cannot have: type parameters and lifetimes.
pub(crate) fn check_generics(
    generics: &syn::Generics,
    derive: &str,
    diagnostics: &mut Diagnostics,
) {
    if !generics.params.is_empty() {
        let message = format!("`{derive}` takes no type parameters or lifetimes");
        diagnostics.error(generics.params.to_token_stream(), message);
    }
}
