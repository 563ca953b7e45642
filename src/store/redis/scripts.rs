//! The scripts, one for each sentence, put together from their parts when stepgate is compiled.
//!
//! Never takes anything into a script's text: what varies goes in as arguments.

use super::link::Script;

macro_rules! scripts {
    ($($name:ident = $($part:literal)*;)*) => {$(
        pub(super) static $name: Script = Script {
            name: stringify!($name),
            source: concat!($(include_str!(concat!("scripts/", $part, ".lua"))),*),
        };
    )*
        pub(super) static ALL: [&Script; [$(stringify!($name)),*].len()] = [$(&$name),*];
    };
}

scripts! {
    MARK = "mark";
    LOOK = "prelude" "look";
    SIGHT = "prelude" "sight";
    FREEZE = "prelude" "account" "freeze";
    THAW = "prelude" "account" "thaw";
    ASK_THAW = "prelude" "account" "ask_thaw";
    ENROL = "prelude" "account" "enrol";
    RENEW = "prelude" "account" "renew";
    DISENROL = "prelude" "account" "disenrol";
    REPLACE = "prelude" "account" "replace";
    BEGIN = "prelude" "account" "attempt" "begin";
    CONSULT = "prelude" "consult";
    ABANDON = "prelude" "attempt" "abandon";
    SETTLE = "prelude" "attempt" "settle";
    SENDING = "prelude" "sending";
    ORPHAN = "prelude" "attempt" "orphan";
    OPEN = "prelude" "account" "open";
    CHALLENGE = "prelude" "account" "challenge";
    OPEN_CHALLENGES = "prelude" "account" "open_challenges";
    ASK_PASSKEY = "prelude" "account" "ask_passkey";
    SPEND = "prelude" "account" "pending" "spend";
    PROVE = "prelude" "account" "pending" "prove";
    ENROL_MADE = "prelude" "account" "pending" "enrol_made";
    REJECT = "prelude" "account" "reject";
    TAKE_HELD = "prelude" "account" "take_held";
    PUT_CODE = "prelude" "account" "put_code";
    TELL = "prelude" "tell";
    RESERVE = "prelude" "budget" "reserve";
    CODE_VERIFIED = "prelude" "budget" "code_verified";
    SMS_STOPS = "prelude" "sms_stops";
    ENQUEUE = "prelude" "enqueue";
    LEASE = "prelude" "lease";
    MESSAGE_DONE = "prelude" "message_done";
    ADOPT = "prelude" "adopt";
    LEND = "prelude" "lend";
    LENT = "prelude" "lent";
    POST = "prelude" "post";
    POSTED = "prelude" "posted";
    TAKE_DOWN = "prelude" "take_down";
    READ = "prelude" "read";
    RESTORE = "prelude" "restore";
    RESTORE_ACCOUNT = "prelude" "account" "restore_account";
    BEAT = "prelude" "beat";
    ALIVE = "prelude" "alive";
}
