"""HTML in cells: entities and tags go where they are certain; what only looks like them stays."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from qr_env.shop.readers.text.html_text import decode_entities, plain_text


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Caf&eacute; Table", "Café Table"),
        ("27&quot;&nbsp;Monitor", '27" Monitor'),
        ("H&amp;M", "H&M"),
        ("H&amp;amp;M &amp;amp;eacute;", "H&M é"),
        ("It&#39;s &#x201C;new&#8221; &#147;x&#148;", "It's “new” “x”"),
        ("Salt &amp pepper &reg", "Salt & pepper ®"),
        ("5 &lt; 6 &gt; 4", "5 < 6 > 4"),
        ("<p>Oak.</p><p>Solid.</p>", "Oak. Solid."),
        ("<ul><li>oak<li>pine</ul>", "oak pine"),
        ("one<br>two<br/>three<BR />four", "one two three four"),
        ("<b>Bl</b>ue H<sub>2</sub>O <strong>new</strong>", "Blue H2O new"),
        ('<div class="x" data-id=7><span style="color:red">Red</span></div>', "Red"),
        ('<img src="a.jpg" alt="a > b"/>lamp', "lamp"),
        ('<a href="https://shop.example/?a=1&amp;b=2">Details</a>', "Details"),
        ("&lt;p&gt;Nice &amp;amp; soft&lt;/p&gt;", "Nice & soft"),
        ("Oak<script>if (a < b) { x(); }</script> table", "Oak table"),
        ("<style>p { color: red }</style>Lamp", "Lamp"),
        ("Lamp <style> .a { width: 3px", "Lamp"),
        ("<!-- hidden -->Lamp<!DOCTYPE html>", "Lamp"),
        ("<![CDATA[Soft & warm]]>", "Soft & warm"),
        ("<o:p></o:p>Rug <st1:place>x</st1:place>", "Rug x"),
        ('Sofa <a href="http://x', "Sofa"),
        ("Sofa <br", "Sofa"),
        ("Sofa</p", "Sofa"),
        ("<s>19</s> 15", "19 15"),
        ("Oak</b> table</i>", "Oak table"),
        ("<color>red</color><x-note>new</x-note>", "red new"),
        ('<g-emoji class="x">star</g-emoji> lamp', "star lamp"),
        ("<input type=checkbox checked> yes", "yes"),
    ],
)
def test_html_is_left_out(text: str, plain: str) -> None:
    assert plain_text(text) == plain


@pytest.mark.parametrize(
    "text",
    [
        *("H&M", "AT&T", "R&D", "salt & pepper", "rock&reggae", "a&copyright", "&notanentity;", "AT&T;", "Q&A; more"),
        *("a < b", '3/4" <x', "3 <x> 4", "if x<y and y>z", "<3", "I <3 you", "<5 kg", "< p >", "a <b and c> d"),
        *(
            "Size <S> or <M>",
            "<b> is bold",
            "<custom>",
            "->",
            "<-",
            "<<new>>",
            "a<b",
            "4 < 5 > 3",
            "<name@mail.example>",
        ),
        *("Modern <Style> sofa", "", "two  spaces\nand lines"),
    ],
)
def test_what_is_no_html_stays(text: str) -> None:
    assert plain_text(text) == text


def test_queries_keep_their_tags() -> None:
    assert decode_entities("<b>h&amp;amp;m</b> caf&eacute; AT&T") == "<b>h&m</b> café AT&T"


pieces = st.sampled_from(
    ["<", ">", "&", "amp;", "lt;", "gt;", "p", "b", "/", " ", "script", "!--", "-->", '"', "=", "x"]
)


@given(st.lists(pieces, max_size=14).map("".join))
@example("</</")
@example("table </ </br")
def test_plain_text_is_plain(text: str) -> None:
    """Cleaning what is clean changes nothing: a shop that is written and read again is the same."""
    once = plain_text(text)
    assert plain_text(once) == once


@pytest.mark.parametrize(
    "unit", ["<", "<p ", "<a b=", "<!--", "&amp;", "<script>", "<p a=1 ", "</", "<![CDATA[", "<?xml "]
)
def test_long_broken_markup_takes_no_time(unit: str) -> None:
    """100,000 characters, the limit of a description; a quadratic pattern would take minutes."""
    plain_text(unit * (100_000 // len(unit)))
