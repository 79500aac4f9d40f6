//! [`event_set!`](crate::event_set): one declaration makes an event set out of prost messages.

/// Makes an event set: an enum, a producer trait and a handler trait out of prost messages.
///
/// Each row names a message that is in scope, its type on the wire, and the field that is its key (a `String`; an empty one counts as no
/// key). A message that implements [`Event`](crate::events::Event) already, such as one of another set, stands by its name alone.
///
/// What comes out, for a row `OrderPlaced` in a set declared as below:
/// - `enum OrderEvents { OrderPlaced(OrderPlaced), … }`, an [`EventSet`](crate::events::EventSet);
/// - `trait OrderProducer`, implemented for [`EventProducer`](crate::events::EventProducer), with
///   `send_order_placed(&event)` and `enqueue_order_placed(&event)`;
/// - `trait OrderHandler`, to be implemented by you and given to [`EventConsumer::start`](crate::events::EventConsumer::start), with
///   `async fn handle_order_placed(&self, context: &Context<'_>, event: OrderPlaced) -> Result<(), HandlerError>`.
///   One method per event, all of them required: a new event is a compile error where it would otherwise be forgotten. Records that are no event of the set
///   go to `handle_unknown`, those that cannot be read to `handle_undecodable`; unless implemented, both answer with an error.
///
/// ```
/// use pat_events::events::{event_set, prost};
/// use pat_events::events::{Context, Dispatch, Event, HandlerError, RawHeaders, RawRecord};
///
/// /// An order was placed. (Or from a `.proto` file, by prost-build.)
/// #[derive(Clone, PartialEq, prost::Message)]
/// pub struct OrderPlaced {
///     #[prost(string, tag = "1")]
///     pub order_id: String,
///     #[prost(uint64, tag = "2")]
///     pub cents: u64,
/// }
///
/// /// An order left the warehouse.
/// #[derive(Clone, PartialEq, prost::Message)]
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
///     async fn handle_order_placed(&self, context: &Context<'_>, event: OrderPlaced) -> Result<(), HandlerError> {
///         println!("{}: order {} over {} cents", context.offset(), event.order_id, event.cents);
///         Ok(())
///     }
///
///     async fn handle_order_shipped(&self, _: &Context<'_>, event: OrderShipped) -> Result<(), HandlerError> {
///         Err(HandlerError::new(format!("order {} was never placed", event.order_id)))
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// // What a consumer does with every record:
/// let headers = [("ce_specversion", Some(&b"1.0"[..])), ("ce_type", Some(b"shop.v1.OrderPlaced"))];
/// let record = RawRecord {
///     topic: "orders",
///     partition: 0,
///     offset: 7,
///     timestamp_ms: 1_700_000_000_000,
///     key: Some(b"o-1"),
///     value: Some(b"\x0a\x03o-1\x10\xe7\x07"),
///     headers: RawHeaders::new(&headers),
/// };
/// let dispatched = OrderEvents::dispatch(&Shop, &Context::new(record)).await;
/// assert!(dispatched.result.is_ok());
/// assert_eq!(OrderPlaced::TYPE, "shop.v1.OrderPlaced");
/// # }
/// ```
///
/// Two events with one type do not compile:
/// ```compile_fail
/// # use pat_events::events::{event_set, prost};
/// #[derive(Clone, PartialEq, prost::Message)]
/// pub struct OrderPlaced {
///     #[prost(string, tag = "1")]
///     pub order_id: String,
/// }
/// #[derive(Clone, PartialEq, prost::Message)]
/// pub struct OrderShipped {
///     #[prost(string, tag = "1")]
///     pub order_id: String,
/// }
/// event_set! {
///     pub enum OrderEvents, producer OrderProducer, handler OrderHandler {
///         OrderPlaced: type = "shop.v1.OrderPlaced", key = order_id;
///         OrderShipped: type = "shop.v1.OrderPlaced", key = order_id;
///     }
/// }
/// ```
#[macro_export]
macro_rules! event_set {
    (
        $(#[$meta:meta])*
        $vis:vis enum $Set:ident, producer $Producer:ident, handler $Handler:ident {
            $( $Event:ident $(: type = $type:literal, key = $key:ident)?; )+
        }
    ) => {
        $( $(
            impl $crate::events::Event for $Event {
                const TYPE: &'static str = $type;

                fn key(&self) -> ::core::option::Option<&[u8]> {
                    (!self.$key.is_empty()).then(|| self.$key.as_bytes())
                }
            }
        )? )+

        $(#[$meta])*
        // Events are moved about singly, not kept by the million: boxing the large ones would cost an allocation each.
        #[allow(clippy::large_enum_variant)]
        #[derive(Clone, Debug, PartialEq)]
        $vis enum $Set {
            $(
                #[doc = concat!("A [`", stringify!($Event), "`].")]
                $Event($Event),
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

            fn encoded_len(&self) -> usize {
                match self { $( Self::$Event(event) => $crate::events::AnyEvent::encoded_len(event), )+ }
            }

            fn encode_to(&self, out: &mut [u8]) {
                match self { $( Self::$Event(event) => $crate::events::AnyEvent::encode_to(event, out), )+ }
            }
        }

        const _: () = ::core::assert!(
            $crate::events::private::are_distinct(<$Set as $crate::events::EventSet>::TYPES),
            "two events of the set have the same type, or one has none: the second would never reach its handler"
        );

        impl $crate::events::EventSet for $Set {
            const TYPES: &'static [&'static str] = &[ $( <$Event as $crate::events::Event>::TYPE, )+ ];

            fn decode(
                event_type: &str,
                value: &[u8],
            ) -> ::core::option::Option<::core::result::Result<Self, $crate::events::prost::DecodeError>> {
                match event_type {
                    $( <$Event as $crate::events::Event>::TYPE => ::core::option::Option::Some(
                        <$Event as $crate::events::prost::Message>::decode(value).map(Self::$Event)
                    ), )+
                    _ => ::core::option::Option::None,
                }
            }
        }

        $( impl ::core::convert::From<$Event> for $Set {
            fn from(event: $Event) -> Self {
                Self::$Event(event)
            }
        } )+

        $crate::events::private::paste! {
            #[doc = concat!("Sends the events of [`", stringify!($Set), "`].")]
            // A set that is private to a crate may be only read there, or only written.
            #[allow(dead_code)]
            $vis trait $Producer {
                $(
                    #[doc = concat!("Sends one [`", stringify!($Event), "`] and waits until it is acknowledged, as [`EventProducer::send`].")]
                    ///
                    /// [`EventProducer::send`]: $crate::events::EventProducer::send
                    fn [<send_ $Event:snake>](
                        &self,
                        event: &$Event,
                    ) -> impl ::core::future::Future<
                        Output = $crate::kafka::Result<$crate::kafka::RecordMetadata>,
                    > + ::core::marker::Send;

                    #[doc = concat!("Accepts one [`", stringify!($Event), "`] for sending, as [`EventProducer::enqueue`].")]
                    ///
                    /// [`EventProducer::enqueue`]: $crate::events::EventProducer::enqueue
                    fn [<enqueue_ $Event:snake>](
                        &self,
                        event: &$Event,
                    ) -> impl ::core::future::Future<
                        Output = $crate::kafka::Result<$crate::kafka::Delivery>,
                    > + ::core::marker::Send;
                )+
            }

            impl $Producer for $crate::events::EventProducer {
                $(
                    async fn [<send_ $Event:snake>](
                        &self,
                        event: &$Event,
                    ) -> $crate::kafka::Result<$crate::kafka::RecordMetadata> {
                        self.send(event).await
                    }

                    async fn [<enqueue_ $Event:snake>](
                        &self,
                        event: &$Event,
                    ) -> $crate::kafka::Result<$crate::kafka::Delivery> {
                        self.enqueue(event).await
                    }
                )+
            }

            #[doc = concat!("Handles the events of [`", stringify!($Set), "`].")]
            ///
            /// Methods are called for one event at a time and key, in the order of the log, and for several keys at once. An event counts
            /// as finished when its method returns `Ok`; until then its offset is not committed, so an event may be seen again after a
            /// restart. A panic counts as an error.
            #[allow(dead_code)]
            $vis trait $Handler: ::core::marker::Send + ::core::marker::Sync + 'static {
                $(
                    #[doc = concat!("Handles one [`", stringify!($Event), "`].")]
                    fn [<handle_ $Event:snake>](
                        &self,
                        context: &$crate::events::Context<'_>,
                        event: $Event,
                    ) -> impl ::core::future::Future<
                        Output = ::core::result::Result<(), $crate::events::HandlerError>,
                    > + ::core::marker::Send;
                )+

                /// Handles a record that is no event of the set: its type is another, or it has none. Default: an error that says so.
                fn handle_unknown(
                    &self,
                    context: &$crate::events::Context<'_>,
                    record: $crate::events::RawRecord<'_>,
                ) -> impl ::core::future::Future<
                    Output = ::core::result::Result<(), $crate::events::HandlerError>,
                > + ::core::marker::Send {
                    let _ = record;
                    ::core::future::ready(::core::result::Result::Err($crate::events::HandlerError::unknown(context)))
                }

                /// Handles a record that says it is an event of the set, and cannot be read. Default: an error that says so.
                fn handle_undecodable(
                    &self,
                    context: &$crate::events::Context<'_>,
                    record: $crate::events::RawRecord<'_>,
                    error: $crate::events::Undecodable,
                ) -> impl ::core::future::Future<
                    Output = ::core::result::Result<(), $crate::events::HandlerError>,
                > + ::core::marker::Send {
                    let _ = (context, record);
                    ::core::future::ready(::core::result::Result::Err($crate::events::HandlerError::undecodable(&error)))
                }
            }

            impl<H: $Handler> $crate::events::Dispatch<H> for $Set {
                async fn dispatch(handler: &H, context: &$crate::events::Context<'_>) -> $crate::events::Dispatched {
                    #[allow(clippy::enum_variant_names)]
                    enum Index { $( $Event, )+ }
                    use $crate::events::{Arrival, Dispatched};
                    use ::core::result::Result::{Err, Ok};
                    let undecodable = match context.event_type() {
                        $(
                            Ok(::core::option::Option::Some(<$Event as $crate::events::Event>::TYPE)) => {
                                match context.decode::<$Event>() {
                                    Ok(event) => return Dispatched {
                                        arrival: Arrival::Event(Index::$Event as usize),
                                        result: handler.[<handle_ $Event:snake>](context, event).await,
                                    },
                                    Err(error) => error,
                                }
                            }
                        )+
                        Ok(_) => return Dispatched {
                            arrival: Arrival::Unknown,
                            result: handler.handle_unknown(context, context.record()).await,
                        },
                        Err(error) => error,
                    };
                    Dispatched {
                        arrival: Arrival::Undecodable,
                        result: handler.handle_undecodable(context, context.record(), undecodable).await,
                    }
                }
            }
        }
    };
}
