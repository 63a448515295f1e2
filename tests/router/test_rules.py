"""Which requests a participant gets, by each kind of rule."""

from __future__ import annotations

CASES = [
    # rule, what satisfies it, what does not
    ("header:x-tow=ada", [("GET /", "X-Tow: ada")], [("GET /", "X-Tow: adam"), ("GET /",)]),
    ("header:x-tow^=ad", [("GET /", "X-Tow: ada")], [("GET /", "X-Tow: bad")]),
    ("header:x-tow*=d", [("GET /", "X-Tow: ada")], [("GET /", "X-Tow: eve")]),
    ("header:x-tow~=a.a|eve", [("GET /", "X-Tow: eve")], [("GET /", "X-Tow: eves")]),
    ("header:x-tow", [("GET /", "X-Tow: 1"), ("GET /", "X-Tow:")], [("GET /", "X-Tow1: 1")]),
    ("header:x-tow=", [("GET /", "X-Tow: ")], [("GET /", "X-Tow: 1"), ("GET /",)]),
    (r"header:x-tow=a\,b", [("GET /", "X-Tow: a,b")], [("GET /", "X-Tow: a")]),
    ("cookie:tow=ada", [("GET /", "Cookie: a=b; tow=ada; c=d")], [("GET /", "Cookie: tow=adam")]),
    ("cookie:tow^=ad", [("GET /", "Cookie: tow=ada")], [("GET /", "Cookie: twow=ada")]),
    ("cookie:tow*=d", [("GET /", "Cookie: tow=ada")], [("GET /", "Cookie: tow=a; d=d")]),
    ("cookie:tow~=.da", [("GET /", "Cookie: tow=ada")], [("GET /", "Cookie: tow=a; x=da")]),
    ("cookie:tow", [("GET /", "Cookie: tow=1; b=2")], [("GET /", "Cookie: two=1"), ("GET /",)]),
    ("query:tow=ada", [("GET /?a=b&tow=ada",)], [("GET /?tow=adam",), ("GET /tow=ada",)]),
    ("query:tow^=ad", [("GET /?tow=ada",)], [("GET /?tow=bad",)]),
    ("query:tow*=d", [("GET /?tow=ada",)], [("GET /?tow=eve&d=d",)]),
    ("query:tow~=[ab]+", [("GET /?tow=abba",)], [("GET /?tow=abc",)]),
    ("query:tow", [("GET /?tow=1",), ("GET /?tow",)], [("GET /?two",), ("GET /",)]),
    ("path=/a", [("GET /a",), ("GET /a?b=c",)], [("GET /a/",), ("GET /b?x=/a",), ("GET /A",)]),
    ("path^=/a/", [("GET /a/b",), ("GET /a/?x",)], [("GET /a",), ("GET /b?/a/",)]),
    ("path*=b.c", [("GET /a/b.c/d",)], [("GET /abxcd",), ("GET /a?b.c",)]),
    (r"path~=/a/\d+", [("GET /a/12?b=c",)], [("GET /a/12/b",), ("GET /b?/a/1",)]),
    ("method=POST", [("POST /", "Content-Length: 0")], [("GET /",)]),
    ("method~=PUT|DELETE", [("DELETE /",)], [("GET /",)]),
    ("host=ada.example", [("GET /", "Host: Ada.example:8080")], [("GET /", "Host: a.example")]),
    ("host^=ada.", [("GET /", "Host: ada.b")], [("GET /", "Host: b.ada.c")]),
    ("host*=ada", [("GET /", "Host: b.ada.c")], [("GET /", "Host: b")]),
    (r"host~=a\d", [("GET /", "Host: A1:80")], [("GET /", "Host: a12")]),
    (
        "header:a=1,path^=/b,path*=x,query:q",
        [("GET /b/x?q", "A: 1")],
        [("GET /b/x", "A: 1"), ("GET /b/?q", "A: 1"), ("GET /b/x?q", "A: 2")],
    ),
]


async def test_requests_that_satisfy_a_rule_are_the_participants(scene):
    wrong = []
    for number, (rule, satisfied, others) in enumerate(CASES):
        name = f"p{number}"
        await scene.join(name, rule)
        for request in (*satisfied, *others):
            expected = name if request in satisfied else "original"
            if (who := (await scene.ask(*request)).json()["who"]) != expected:
                wrong.append((rule, request, who))
        await scene.router.leave(name)
    assert not wrong


async def test_alternatives_and_priority(scene):
    await scene.join("ada", "header:x-tow=ada", "path^=/ada")
    await scene.join("eve", "path^=/ada/eve", priority=1)
    assert (await scene.ask("GET /ada")).json()["who"] == "ada"
    assert (await scene.ask("GET /", "X-Tow: ada")).json()["who"] == "ada"
    assert (await scene.ask("GET /ada/eve")).json()["who"] == "eve"
