//! Who comes without a certificate: forged headers, tokens, and what looks like either.

use std::sync::atomic::Ordering;

use crate::{
    rules::Rule::{
        Audience, Bearer, First, Http, Impersonation, NamedToken, Nothing, Order, Presented, Proxy, Text, Unasked,
    },
    table::{
        Expected::{Anonymous, Forbidden, Internal, Malformed, Refused, User},
        Row, check_all,
    },
    world::World,
};

#[tokio::test]
async fn headers_alone_name_nobody() {
    let rows: &[Row<'_>] = &[
        (b"", Anonymous, Nothing),
        (b"X-Remote-User: admin\r\nX-Remote-Group: system:masters\r\n", Anonymous, Proxy),
        (b"X-REMOTE-USER: admin\r\nx-remote-GROUP: system:masters\r\n", Anonymous, Proxy),
        (b"X-Remote-User: admin\r\nX-Remote-User: admin\r\n", Anonymous, Proxy),
        (b"X-Remote-User: system:kube-aggregator\r\n", Anonymous, Proxy),
        (b"X_Remote_User: admin\r\nX_Remote_Group: system:masters\r\n", Anonymous, Proxy),
        (b"Remote-User: admin\r\nX-Forwarded-User: admin\r\n", Anonymous, Proxy),
        (b"X-Remote-User:\r\n", Anonymous, Proxy),
        (b"X-Remote-User: \xff\r\n", Anonymous, Proxy),
        (b"X-Remote-Group: system:masters\r\n", Anonymous, Proxy),
        (b"X-Remote-Extra-Scopes: all\r\nX-Remote-Uid: 0\r\n", Anonymous, Proxy),
        (b"X-Forwarded-Client-Cert: Subject=\"CN=front-proxy-client\"\r\nX-Remote-User: admin\r\n", Anonymous, Proxy),
        (b"X-Remote-User : admin\r\n", Malformed, Http),
        (b"X-Remote-User: a\r\n dmin\r\n", Malformed, Http),
    ];
    check_all(&World::start().await, None, rows).await;
}

#[tokio::test]
async fn tokens_are_reviewed_and_headers_beside_them_are_nothing() {
    let world = World::start().await;
    let rows: &[Row<'_>] = &[
        (b"Authorization: Bearer good\r\n", User("token-jane"), Order),
        (b"authorization: bearer good\r\n", User("token-jane"), Bearer),
        (b"Authorization: BEARER good\r\n", User("token-jane"), Bearer),
        (b"Authorization: Bearer good and more\r\n", User("token-jane"), Bearer),
        (
            b"X-Remote-User: admin\r\nAuthorization: Bearer good\r\nX-Remote-Group: system:masters\r\n",
            User("token-jane"),
            Proxy,
        ),
        (b"X-Remote-User: admin\r\nAuthorization: Bearer bad\r\n", Refused, Presented),
        (b"Authorization: Bearer bad\r\n", Refused, Presented),
        (b"Authorization: Bearer GOOD\r\n", Refused, Presented),
        (b"Authorization: Bearer good,bad\r\n", Refused, Presented),
        (b"Authorization: Bearer expired\r\n", Refused, Presented),
        (b"Authorization: Bearer undecided\r\n", Refused, Presented),
        (b"Authorization: Bearer nameless\r\n", Refused, NamedToken),
        (b"Authorization: Bearer bad\r\nAuthorization: Bearer good\r\n", Refused, First),
        (b"Authorization: Bearer good\r\nAuthorization: Bearer bad\r\n", User("token-jane"), First),
        (b"Authorization: Basic YTpi\r\nAuthorization: Bearer good\r\n", Anonymous, First),
        (b"Authorization: Bearer \xff\xfe\r\n", Refused, Text),
        // Nothing that is presented.
        (b"Authorization:\r\n", Anonymous, Bearer),
        (b"Authorization: Bearer\r\n", Anonymous, Bearer),
        (b"Authorization: Bearer  good\r\n", Anonymous, Bearer),
        (b"Authorization: Bearer\tgood\r\n", Anonymous, Bearer),
        (b"Authorization: Basic YWRtaW46YWRtaW4=\r\n", Anonymous, Bearer),
        (b"Authorization: BearerX good\r\n", Anonymous, Bearer),
        (b"Authorization: good\r\n", Anonymous, Bearer),
        (b"Proxy-Authorization: Bearer good\r\n", Anonymous, Bearer),
        (b"Cookie: Authorization=Bearer good\r\nX-Auth-Token: good\r\n", Anonymous, Bearer),
    ];
    check_all(&world, None, rows).await;
}

#[tokio::test]
async fn a_token_that_cannot_be_reviewed_lets_nobody_in() {
    let world = World::start().await;
    let rows: &[Row<'_>] = &[
        (b"Authorization: Bearer unreachable\r\n", Internal("could not be reviewed"), Unasked),
        (b"Authorization: Bearer silent\r\n", Internal("no answer within 1 seconds"), Unasked),
        (b"Authorization: Bearer garbled\r\n", Internal("could not be reviewed"), Unasked),
        (b"Authorization: Bearer without-rights\r\n", Internal("system:auth-delegator"), Unasked),
        (b"Authorization: Bearer invalid-review\r\n", Internal("could not be reviewed"), Unasked),
        (b"Authorization: Bearer unavailable\r\n", Internal("could not be reviewed"), Unasked),
    ];
    check_all(&world, None, rows).await;
    let asked = world.api_server.token_reviews.load(Ordering::SeqCst);
    let longest = [b"Authorization: Bearer ".as_slice(), &vec![b'x'; 64 * 1024 + 1], b"\r\n"].concat();
    check_all(&world, None, &[(&longest, Refused, Presented)]).await;
    assert_eq!(world.api_server.token_reviews.load(Ordering::SeqCst), asked, "not worth a question");
}

#[tokio::test]
async fn a_token_is_for_us_or_nobodys() {
    let rows: &[Row<'_>] = &[
        (b"Authorization: Bearer for-metrics\r\n", User("token-jane"), Audience),
        (b"Authorization: Bearer for-others\r\n", Refused, Audience),
        (b"Authorization: Bearer good\r\n", Refused, Audience),
    ];
    check_all(&World::with_audiences(&["metrics", "more-metrics"]).await, None, rows).await;
}

#[tokio::test]
async fn nobody_impersonates() {
    let refused = || Forbidden("impersonation is not possible here");
    let rows: &[Row<'_>] = &[
        (b"Authorization: Bearer good\r\nImpersonate-User: admin\r\n", refused(), Impersonation),
        (b"Authorization: Bearer good\r\nimpersonate-group: system:masters\r\n", refused(), Impersonation),
        (b"Authorization: Bearer good\r\nImpersonate-Extra-Scopes: all\r\n", refused(), Impersonation),
        (b"Authorization: Bearer bad\r\nImpersonate-User: admin\r\n", Refused, Impersonation),
        (b"Impersonate-User: admin\r\n", refused(), Impersonation),
    ];
    check_all(&World::start().await, None, rows).await;
}
