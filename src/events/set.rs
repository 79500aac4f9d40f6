//! [`event_set!`](crate::event_set): one declaration creates an event set out of messages.

/// Declares an event set: an enum, a producer trait and a handler trait out of messages.
///
/// Each row names a message, by its name or by a path to it, and says how it travels:
///
/// | row | type on the wire | key |
/// | --- | --- | --- |
/// | `OrderPlaced: type = "shop.v1.OrderPlaced", key = order_id;` | as it says | the field `order_id` |
/// | `OrderPlaced: type = "shop.v1.OrderPlaced";` | as it says | none: the events spread over all partitions, in no order |
/// | `OrderPlaced: key = order_id;` | the full name of the message, by [`prost::Name`](crate::events::prost::Name) | the field `order_id` |
/// | `OrderPlaced: key = _;` | likewise | none |
/// | `OrderPlaced;` | what its [`Event`](crate::events::Event) says, such as one of another set, or written by hand | likewise |
///
/// A key is a `String`, bytes, or an `Option` of either ([`EventKey`](crate::events::EventKey)); it may be a field of a field
/// (`key = order.id`). An empty one counts as no key. With `tenant = shop_id` a row names the field, a `String` or an `Option` of it, that says
/// whose event it is ([`Event::tenant_id`](crate::events::Event::tenant_id)). Three more say what a producer does with it: `id = meta.event_id`
/// names the field that its `ce_id` is taken from ([`EventId`](crate::events::EventId)), `deprecated = [old_total]` the fields that are not to
/// be written any more, and `check = fits` a function of yours, `fn(&OrderPlaced) -> Result<(), CodecError>`, that has to be content before it
/// is sent.
///
/// Events are encoded in Protobuf, which [`prost`](crate::events::prost) messages have. For another encoding the set names a
/// [codec](crate::events::codec): `pub enum OrderEvents, producer OrderProducer, handler OrderHandler, codec Json { … }`.
///
/// What comes out, for a row `OrderPlaced` in a set declared as below:
/// - `enum OrderEvents { OrderPlaced(OrderPlaced), … }`, an [`EventSet`](crate::events::EventSet);
/// - `trait OrderProducer`, implemented for [`EventProducer`](crate::events::EventProducer), with
///   `send_order_placed(&event)` and `enqueue_order_placed(&event)`, and for a test's [`Recorder`](crate::events::testing::Recorder);
/// - `trait OrderHandler`, to be implemented by you and passed to [`EventConsumer::start`](crate::events::EventConsumer::start), with
///   `async fn handle_order_placed(&self, context: &Context<'_>, event: OrderPlaced) -> Result<(), HandlerError>`.
///   One method per event, all of them required: a new event is a compile error where it would otherwise be forgotten. Events whose type is not
///   in the set go to `handle_unknown`, which unless implemented skips them; records that are no event, or cannot be read, go to
///   `handle_undecodable`, which unless implemented returns a poison error. A closure is one by [`each`](crate::events::each).
///
/// ```
/// use pat_events::events::{event_set, prost};
/// use pat_events::events::codec::Protobuf;
/// use pat_events::events::{Context, Dispatch, Event, HandlerError};
/// use pat_events::events::{RawHeaders, RawRecord};
///
/// /// An order was placed. (Or from a `.proto` file, by prost-build.)
/// #[derive(Clone, PartialEq, prost::Message)]
/// #[prost(prost_path = "prost")] // not with a dependency of your own on prost
/// pub struct OrderPlaced {
///     #[prost(string, tag = "1")]
///     pub order_id: String,
///     #[prost(uint64, tag = "2")]
///     pub cents: u64,
/// }
///
/// /// An order left the warehouse.
/// #[derive(Clone, PartialEq, prost::Message)]
/// #[prost(prost_path = "prost")]
/// pub struct OrderShipped {
///     #[prost(string, tag = "1")]
///     pub order_id: String,
/// }
///
/// event_set! {
///     /// The life of an order.
///     pub enum OrderEvents, producer OrderProducer, handler OrderHandler {
///         OrderPlaced: type = "shop.v1.OrderPlaced", key = order_id;
///         OrderShipped: type = "shop.v1.OrderShipped", key = order_id;
///     }
/// }
///
/// struct Shop;
///
/// impl OrderHandler for Shop {
///     async fn handle_order_placed(
///         &self,
///         context: &Context<'_>,
///         event: OrderPlaced,
///     ) -> Result<(), HandlerError> {
///         let OrderPlaced { order_id, cents } = event;
///         println!("{}: order {order_id}, {cents} cents", context.offset());
///         Ok(())
///     }
///
///     async fn handle_order_shipped(
///         &self,
///         _: &Context<'_>,
///         event: OrderShipped,
///     ) -> Result<(), HandlerError> {
///         Err(HandlerError::new(format!("order {} was never placed", event.order_id)))
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// // What a consumer does with every record:
/// let headers = [
///     ("ce_specversion", Some(&b"1.0"[..])),
///     ("ce_type", Some(b"shop.v1.OrderPlaced")),
/// ];
/// let mut record = RawRecord::new("orders", 0, 7);
/// record.key = Some(b"o-1");
/// record.value = Some(b"\x0a\x03o-1\x10\xe7\x07");
/// record.headers = RawHeaders::new(&headers);
/// let context = Context::new(record);
/// let dispatched = OrderEvents::dispatch(&Shop, &Protobuf, &context).await;
/// assert!(dispatched.result.is_ok());
/// assert_eq!(OrderPlaced::TYPE, "shop.v1.OrderPlaced");
/// # }
/// ```
#[macro_export]
macro_rules! event_set {
    (
        $(#[$meta:meta])*
        $vis:vis enum $Set:ident, producer $Producer:ident, handler $Handler:ident $(,)? {
            $($rows:tt)*
        }
    ) => {
        $crate::event_set! {
            $(#[$meta])*
            $vis enum $Set, producer $Producer, handler $Handler, codec $crate::events::codec::Protobuf { $($rows)* }
        }
    };
    (
        $(#[$meta:meta])*
        $vis:vis enum $Set:ident, producer $Producer:ident, handler $Handler:ident, codec $Codec:ty $(,)? {
            $($rows:tt)*
        }
    ) => {
        $crate::__event_set! { @rows [[$(#[$meta])*] [$vis] $Set $Producer $Handler $Codec] [] $($rows)* ; }
    };
}

/// The steps of [`event_set!`]: reads one row after the other, each into `{ [type] Name [how it travels] }`, then writes the set.
#[doc(hidden)]
#[macro_export]
macro_rules! __event_set {
    // Rows.
    (@rows $head:tt []) => {
        ::core::compile_error!("an event set needs an event: add a row such as `OrderPlaced: type = \"shop.v1.OrderPlaced\", key = order_id;`");
    };
    (@rows $head:tt [$($rows:tt)+]) => {
        $crate::__event_set! { @set $head $($rows)+ }
    };
    (@rows $head:tt $rows:tt ; $($rest:tt)*) => {
        $crate::__event_set! { @rows $head $rows $($rest)* }
    };
    (@rows $head:tt $rows:tt $($row:tt)+) => {
        $crate::__event_set! { @path $head $rows [] $($row)+ }
    };

    // The path to the message; its last part is the name of the row.
    (@path $head:tt $rows:tt [$($path:tt)*] :: $($rest:tt)+) => {
        $crate::__event_set! { @path $head $rows [$($path)* ::] $($rest)+ }
    };
    (@path $head:tt $rows:tt [$($path:tt)*] $part:ident :: $($rest:tt)+) => {
        $crate::__event_set! { @path $head $rows [$($path)* $part ::] $($rest)+ }
    };
    (@path $head:tt $rows:tt [$($path:tt)*] $Name:ident $($rest:tt)+) => {
        $crate::__event_set! { @how $head $rows [$($path)* $Name] $Name $($rest)+ }
    };
    (@path $head:tt $rows:tt [$($path:tt)*] $($bad:tt)*) => {
        $crate::__event_set! { @wrong $($path)* $($bad)* }
    };

    // How it travels: one option after the other, each into its brackets: type, key, tenant, and more: id, deprecated, check.
    (@how $head:tt [$($rows:tt)*] $Type:tt $Name:ident ; $($rest:tt)*) => {
        $crate::__event_set! { @rows $head [$($rows)* { $Type $Name [] }] $($rest)* }
    };
    (@how $head:tt $rows:tt $Type:tt $Name:ident : $($options:tt)+) => {
        $crate::__event_set! { @option [$head $rows $Type $Name] [name] [] [] [[] [] []] $($options)+ }
    };
    (@how $head:tt $rows:tt [$($Type:tt)+] $Name:ident $($bad:tt)*) => {
        $crate::__event_set! { @wrong $($Type)+ $($bad)* }
    };
    (@option $row:tt [name] $key:tt $tenant:tt $more:tt type = $type:literal $($rest:tt)*) => {
        $crate::__event_set! { @next $row [literal $type] $key $tenant $more $($rest)* }
    };
    (@option $row:tt $type:tt [] $tenant:tt $more:tt key = _ $($rest:tt)*) => {
        $crate::__event_set! { @next $row $type [] $tenant $more $($rest)* }
    };
    (@option $row:tt $type:tt [] $tenant:tt $more:tt key = $field:ident $($rest:tt)*) => {
        $crate::__event_set! { @key $row $type [$field] $tenant $more $($rest)* }
    };
    (@option $row:tt $type:tt $key:tt [] $more:tt tenant = $field:ident $($rest:tt)*) => {
        $crate::__event_set! { @tenant $row $type $key [$field] $more $($rest)* }
    };
    (@option $row:tt $type:tt $key:tt $tenant:tt [[] $old:tt $check:tt] id = $field:ident $($rest:tt)*) => {
        $crate::__event_set! { @id $row $type $key $tenant [[$field] $old $check] $($rest)* }
    };
    (@option $row:tt $type:tt $key:tt $tenant:tt [$id:tt [] $check:tt] deprecated = [$($field:ident),+ $(,)?] $($rest:tt)*) => {
        $crate::__event_set! { @next $row $type $key $tenant [$id [$($field)+] $check] $($rest)* }
    };
    (@option $row:tt $type:tt $key:tt $tenant:tt [$id:tt $old:tt []] check = $check:ident $($rest:tt)*) => {
        $crate::__event_set! { @next $row $type $key $tenant [$id $old [$check]] $($rest)* }
    };
    (@option [$head:tt $rows:tt [$($Type:tt)+] $Name:ident] $type:tt $key:tt $tenant:tt $more:tt $($bad:tt)*) => {
        $crate::__event_set! { @wrong $($Type)+ : $($bad)* }
    };
    (@key $row:tt $type:tt [$($key:tt)+] $tenant:tt $more:tt . $field:ident $($rest:tt)*) => {
        $crate::__event_set! { @key $row $type [$($key)+ . $field] $tenant $more $($rest)* }
    };
    (@key $row:tt $type:tt $key:tt $tenant:tt $more:tt $($rest:tt)*) => {
        $crate::__event_set! { @next $row $type $key $tenant $more $($rest)* }
    };
    (@tenant $row:tt $type:tt $key:tt [$($tenant:tt)+] $more:tt . $field:ident $($rest:tt)*) => {
        $crate::__event_set! { @tenant $row $type $key [$($tenant)+ . $field] $more $($rest)* }
    };
    (@tenant $row:tt $type:tt $key:tt $tenant:tt $more:tt $($rest:tt)*) => {
        $crate::__event_set! { @next $row $type $key $tenant $more $($rest)* }
    };
    (@id $row:tt $type:tt $key:tt $tenant:tt [[$($id:tt)+] $old:tt $check:tt] . $field:ident $($rest:tt)*) => {
        $crate::__event_set! { @id $row $type $key $tenant [[$($id)+ . $field] $old $check] $($rest)* }
    };
    (@id $row:tt $type:tt $key:tt $tenant:tt $more:tt $($rest:tt)*) => {
        $crate::__event_set! { @next $row $type $key $tenant $more $($rest)* }
    };
    (@next [$head:tt [$($rows:tt)*] $Type:tt $Name:ident] $type:tt $key:tt $tenant:tt $more:tt $(,)? ; $($rest:tt)*) => {
        $crate::__event_set! { @rows $head [$($rows)* { $Type $Name [$type $key $tenant $more] }] $($rest)* }
    };
    (@next $row:tt $type:tt $key:tt $tenant:tt $more:tt , $($rest:tt)+) => {
        $crate::__event_set! { @option $row $type $key $tenant $more $($rest)+ }
    };
    (@next [$head:tt $rows:tt [$($Type:tt)+] $Name:ident] $type:tt $key:tt $tenant:tt $more:tt $($bad:tt)*) => {
        $crate::__event_set! { @wrong $($Type)+ : $($bad)* }
    };

    // Two errors: this one says what to do, and the other where.
    (@wrong $($bad:tt)*) => {
        ::core::compile_error!(
            "a row of an event set is `Message: type = \"name.on.the.wire\", key = field;`; without `type = …` the message's prost::Name \
             counts, with `key = _` there is no key, `tenant = field` says whose it is, `id = field` what its `ce_id` is, `deprecated = [field, …]` \
             which fields are written no more, `check = function` what has to hold, and an `Event` stands alone: `Message;`"
        );
        $crate::__event_set_row! { $($bad)* }
    };

    (@event $Type:tt []) => {};
    (@event [$($Type:tt)+] [[$($type:tt)+] [$($key:tt)*] [$($tenant:tt)*] [[$($id:tt)*] [$($old:ident)*] [$($check:ident)?]]]) => {
        impl $crate::events::Event for $($Type)+ {
            const TYPE: &'static str = $crate::__event_set! { @type [$($Type)+] $($type)+ };

            fn key(&self) -> ::core::option::Option<&[u8]> {
                $crate::__event_set! { @bytes self $($key)* }
            }

            fn tenant_id(&self) -> ::core::option::Option<&str> {
                $crate::__event_set! { @text self $($tenant)* }
            }

            fn id(&self) -> ::core::option::Option<&str> {
                $crate::__event_set! { @id_of self $($id)* }
            }

            fn check(&self) -> ::core::result::Result<(), $crate::events::codec::CodecError> {
                $( $check(self)?; )?
                ::core::result::Result::Ok(())
            }

            fn deprecated_fields(&self, tell: &mut dyn ::core::ops::FnMut(&'static str)) {
                let _ = &tell;
                $({
                    static TOLD: ::core::sync::atomic::AtomicBool = ::core::sync::atomic::AtomicBool::new(false);
                    if $crate::events::private::is_set(&self.$old) && !TOLD.swap(true, ::core::sync::atomic::Ordering::Relaxed) {
                        tell(::core::stringify!($old));
                    }
                })*
            }
        }
    };
    (@type $Type:tt literal $type:literal) => { $type };
    (@type [$($Type:tt)+] name) => {{
        const PACKAGE: &str = <$($Type)+ as $crate::events::private::Named>::PACKAGE;
        const NAME: &str = <$($Type)+ as $crate::events::private::Named>::NAME;
        const LEN: usize = $crate::events::private::full_name_len(PACKAGE, NAME);
        const FULL: [u8; LEN] = $crate::events::private::full_name(PACKAGE, NAME);
        $crate::events::private::text(&FULL)
    }};
    (@bytes $this:ident) => { ::core::option::Option::None };
    (@bytes $this:ident $($key:tt)+) => { $crate::events::EventKey::as_key(&$this.$($key)+) };
    (@id_of $this:ident) => { ::core::option::Option::None };
    (@id_of $this:ident $($id:tt)+) => { $crate::events::EventId::as_id(&$this.$($id)+) };
    (@text $this:ident) => { ::core::option::Option::None };
    (@text $this:ident $($tenant:tt)+) => { $crate::events::private::Tenant::as_tenant(&$this.$($tenant)+) };

    (
        @set [[$(#[$meta:meta])*] [$vis:vis] $Set:ident $Producer:ident $Handler:ident $Codec:tt]
        $( { [$($Type:tt)+] $Event:ident $how:tt } )+
    ) => {
        $( $crate::__event_set! { @event [$($Type)+] $how } )+

        $(#[$meta])*
        // Events are moved about singly, not kept by the million: boxing the large ones would cost an allocation each.
        #[allow(clippy::large_enum_variant)]
        #[derive(::core::clone::Clone, ::core::fmt::Debug, ::core::cmp::PartialEq)]
        $vis enum $Set {
            $(
                #[doc = ::core::concat!("A [`", ::core::stringify!($Event), "`].")]
                $Event($($Type)+),
            )+
        }

        impl $crate::events::AnyEvent for $Set {
            fn event_type(&self) -> &'static str {
                match self { $( Self::$Event(event) => $crate::events::AnyEvent::event_type(event), )+ }
            }

            fn key(&self) -> ::core::option::Option<&[u8]> {
                match self { $( Self::$Event(event) => $crate::events::AnyEvent::key(event), )+ }
            }

            fn subject(&self) -> ::core::option::Option<&str> {
                match self { $( Self::$Event(event) => $crate::events::AnyEvent::subject(event), )+ }
            }

            fn tenant_id(&self) -> ::core::option::Option<&str> {
                match self { $( Self::$Event(event) => $crate::events::AnyEvent::tenant_id(event), )+ }
            }

            fn id(&self) -> ::core::option::Option<&str> {
                match self { $( Self::$Event(event) => $crate::events::AnyEvent::id(event), )+ }
            }

            fn check(&self) -> ::core::result::Result<(), $crate::events::codec::CodecError> {
                match self { $( Self::$Event(event) => $crate::events::AnyEvent::check(event), )+ }
            }

            fn deprecated_fields(&self, tell: &mut dyn ::core::ops::FnMut(&'static str)) {
                match self { $( Self::$Event(event) => $crate::events::AnyEvent::deprecated_fields(event, tell), )+ }
            }
        }

        impl $crate::events::Encode<$Codec> for $Set {
            async fn prepare(
                &self,
                codec: &$Codec,
                topic: &str,
            ) -> ::core::result::Result<
                <$Codec as $crate::events::codec::Format>::Prepared,
                $crate::events::codec::CodecError,
            > {
                match self { $( Self::$Event(event) => $crate::events::Encode::prepare(event, codec, topic).await, )+ }
            }

            fn write(
                &self,
                codec: &$Codec,
                prepared: &<$Codec as $crate::events::codec::Format>::Prepared,
                out: &mut [u8],
            ) {
                match self { $( Self::$Event(event) => $crate::events::Encode::write(event, codec, prepared, out), )+ }
            }
        }

        $( const _: () = ::core::assert!(
            $crate::events::private::is_alone(
                <$Set as $crate::events::EventSet>::TYPES,
                <$($Type)+ as $crate::events::Event>::TYPE,
            ),
            "{}", ::core::concat!(
                "`", ::core::stringify!($Event), "` has no type, or shares it with another event of the set: give each a type of its own, or \
                 all but the first would never reach their handlers"
            )
        ); )+

        impl $crate::events::EventSet for $Set {
            const TYPES: &'static [&'static str] = &[ $( <$($Type)+ as $crate::events::Event>::TYPE, )+ ];

            type Codec = $Codec;

            async fn decode(
                codec: &$Codec,
                event_type: &str,
                payload: &$crate::events::codec::Payload<'_>,
            ) -> ::core::option::Option<::core::result::Result<Self, $crate::events::codec::CodecError>> {
                match event_type {
                    $( <$($Type)+ as $crate::events::Event>::TYPE => ::core::option::Option::Some(
                        <$Codec as $crate::events::codec::Codec<$($Type)+>>::decode(codec, payload).await.map(Self::$Event)
                    ), )+
                    _ => ::core::option::Option::None,
                }
            }
        }

        $( impl ::core::convert::From<$($Type)+> for $Set {
            fn from(event: $($Type)+) -> Self {
                Self::$Event(event)
            }
        } )+

        $crate::events::private::paste! {
            #[doc = ::core::concat!("Sends the events of [`", ::core::stringify!($Set), "`].")]
            // A set that is private to a crate may be only read there, or only written.
            #[allow(dead_code)]
            $vis trait $Producer {
                $(
                    #[doc = ::core::concat!("Sends one `", ::core::stringify!($Event), "` and waits until it is acknowledged, as [`EventProducer::send`].")]
                    ///
                    /// [`EventProducer::send`]: $crate::events::EventProducer::send
                    fn [<send_ $Event:snake>](
                        &self,
                        event: &$($Type)+,
                    ) -> impl ::core::future::Future<
                        Output = $crate::kafka::Result<$crate::kafka::RecordMetadata>,
                    > + ::core::marker::Send;

                    #[doc = ::core::concat!("Accepts one `", ::core::stringify!($Event), "` for sending, as [`EventProducer::enqueue`].")]
                    ///
                    /// [`EventProducer::enqueue`]: $crate::events::EventProducer::enqueue
                    fn [<enqueue_ $Event:snake>](
                        &self,
                        event: &$($Type)+,
                    ) -> impl ::core::future::Future<
                        Output = $crate::kafka::Result<$crate::kafka::Delivery>,
                    > + ::core::marker::Send;
                )+
            }

            impl $Producer for $crate::events::EventProducer<$Codec> {
                $(
                    async fn [<send_ $Event:snake>](
                        &self,
                        event: &$($Type)+,
                    ) -> $crate::kafka::Result<$crate::kafka::RecordMetadata> {
                        $crate::events::EventProducer::send(self, event).await
                    }

                    async fn [<enqueue_ $Event:snake>](
                        &self,
                        event: &$($Type)+,
                    ) -> $crate::kafka::Result<$crate::kafka::Delivery> {
                        $crate::events::EventProducer::enqueue(self, event).await
                    }
                )+
            }

            impl $Producer for $crate::events::testing::Recorder<$Set> {
                $(
                    async fn [<send_ $Event:snake>](
                        &self,
                        event: &$($Type)+,
                    ) -> $crate::kafka::Result<$crate::kafka::RecordMetadata> {
                        self.record($Set::$Event(::core::clone::Clone::clone(event)))?.await
                    }

                    async fn [<enqueue_ $Event:snake>](
                        &self,
                        event: &$($Type)+,
                    ) -> $crate::kafka::Result<$crate::kafka::Delivery> {
                        self.record($Set::$Event(::core::clone::Clone::clone(event)))
                    }
                )+
            }

            #[doc = ::core::concat!("Handles the events of [`", ::core::stringify!($Set), "`].")]
            ///
            /// Methods are called for one event at a time and key, in the order of the log, and for several keys at once. An event counts
            /// as finished when its method returns `Ok`; until then its offset is not committed, so an event may be seen again after a
            /// restart. A panic counts as an error.
            #[allow(dead_code)]
            $vis trait $Handler: ::core::marker::Send + ::core::marker::Sync + 'static {
                $(
                    #[doc = ::core::concat!("Handles one `", ::core::stringify!($Event), "`.")]
                    fn [<handle_ $Event:snake>](
                        &self,
                        context: &$crate::events::Context<'_>,
                        event: $($Type)+,
                    ) -> impl ::core::future::Future<
                        Output = ::core::result::Result<(), $crate::events::HandlerError>,
                    > + ::core::marker::Send;
                )+

                /// Handles an event whose type is not in the set. Default: it is skipped.
                fn handle_unknown(
                    &self,
                    context: &$crate::events::Context<'_>,
                    record: $crate::events::RawRecord<'_>,
                ) -> impl ::core::future::Future<
                    Output = ::core::result::Result<(), $crate::events::HandlerError>,
                > + ::core::marker::Send {
                    let _ = (context, record);
                    ::core::future::ready(::core::result::Result::Ok(()))
                }

                /// Handles a record that is no event, or says it is one of the set and cannot be decoded. Default: a poison error that
                /// says so.
                fn handle_undecodable(
                    &self,
                    context: &$crate::events::Context<'_>,
                    record: $crate::events::RawRecord<'_>,
                    error: $crate::events::Undecodable,
                ) -> impl ::core::future::Future<
                    Output = ::core::result::Result<(), $crate::events::HandlerError>,
                > + ::core::marker::Send {
                    let _ = (context, record);
                    ::core::future::ready(::core::result::Result::Err($crate::events::HandlerError::undecodable(error)))
                }
            }

            // Names of types are not hygienic: nobody else's are these.
            impl<__PatEventsClosure, __PatEventsFuture> $Handler for $crate::events::Each<__PatEventsClosure>
            where
                __PatEventsClosure: ::core::ops::Fn($Set) -> __PatEventsFuture
                    + ::core::marker::Send + ::core::marker::Sync + 'static,
                __PatEventsFuture: ::core::future::Future<
                    Output = ::core::result::Result<(), $crate::events::HandlerError>,
                > + ::core::marker::Send,
            {
                $(
                    fn [<handle_ $Event:snake>](
                        &self,
                        _: &$crate::events::Context<'_>,
                        event: $($Type)+,
                    ) -> impl ::core::future::Future<
                        Output = ::core::result::Result<(), $crate::events::HandlerError>,
                    > + ::core::marker::Send {
                        (self.0)($Set::$Event(event))
                    }
                )+
            }

            impl<__PatEventsHandler: $Handler> $crate::events::Dispatch<__PatEventsHandler> for $Set {
                async fn dispatch(
                    handler: &__PatEventsHandler,
                    codec: &$Codec,
                    context: &$crate::events::Context<'_>,
                ) -> $crate::events::Dispatched {
                    let event_type = context.event_type_by(codec).await;
                    let undecodable = match event_type.as_ref().map(::core::option::Option::as_deref) {
                        $(
                            ::core::result::Result::Ok(::core::option::Option::Some(<$($Type)+ as $crate::events::Event>::TYPE)) => {
                                match context.decode::<$($Type)+, $Codec>(codec).await {
                                    ::core::result::Result::Ok(event) => return $crate::events::Dispatched::new(
                                        $crate::events::RecordKind::Event(const {
                                            $crate::events::private::index_of(
                                                <$Set as $crate::events::EventSet>::TYPES,
                                                <$($Type)+ as $crate::events::Event>::TYPE,
                                            )
                                        }),
                                        <__PatEventsHandler as $Handler>::[<handle_ $Event:snake>](handler, context, event).await,
                                    ),
                                    ::core::result::Result::Err(error) => error,
                                }
                            }
                        )+
                        ::core::result::Result::Ok(::core::option::Option::Some(event_type)) => return $crate::events::Dispatched::new(
                            $crate::events::RecordKind::Unknown,
                            match context.without_handler(event_type) {
                                ::core::option::Option::Some(result) => result,
                                ::core::option::Option::None => {
                                    <__PatEventsHandler as $Handler>::handle_unknown(handler, context, context.record()).await
                                }
                            },
                        ),
                        ::core::result::Result::Ok(::core::option::Option::None) => $crate::events::Undecodable::NoEvent,
                        ::core::result::Result::Err(error) => ::core::clone::Clone::clone(error),
                    };
                    $crate::events::Dispatched::new(
                        $crate::events::RecordKind::Undecodable,
                        match undecodable.may_pass() {
                            true => ::core::result::Result::Err($crate::events::HandlerError::undecodable(undecodable)),
                            false => <__PatEventsHandler as $Handler>::handle_undecodable(handler, context, context.record(), undecodable).await,
                        },
                    )
                }
            }
        }
    };
}

/// Nothing but a row: the compiler points at the first token that does not belong to one.
#[doc(hidden)]
#[macro_export]
macro_rules! __event_set_row {
    ($Message:path; $($next:tt)*) => {};
    ($Message:path: type = $name:literal $(, key = $($field:ident).+)? $(, tenant = $($tenant:ident).+)?; $($next:tt)*) => {};
    ($Message:path: key = $($field:ident).+ $(, tenant = $($tenant:ident).+)?; $($next:tt)*) => {};
}

#[cfg(test)]
mod tests;
