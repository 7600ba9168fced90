"""The explorer as a reader meets it: with the mouse, with the keyboard, on a narrow screen, with hostile texts."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from browser_reader import Reader
from hostile_dictionary import ADDRESS, HEBREW, IMAGE, LONG, SCRIPT
from running_service import Service


def test_a_word_is_typed_chosen_and_read(reader: Reader) -> None:
    page = reader.go(d="tiny@1")
    expect(page.get_by_role("heading", name="What does a model mean by a word?")).to_be_visible()
    page.keyboard.press("/")
    field = page.get_by_role("combobox", name="Word")
    expect(field).to_be_focused()
    page.keyboard.type("ho")
    options = page.get_by_role("option")
    expect(options.first).to_contain_text("hot")
    page.keyboard.press("ArrowDown")
    expect(field).to_have_attribute("aria-activedescendant", "suggestion-0")
    page.keyboard.press("ArrowUp")  # back to what was typed
    expect(field).not_to_have_attribute("aria-activedescendant", re.compile(".*"))
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("hot")
    expect(page).to_have_url(re.compile(r"#w=hot&d=tiny%401$"))
    expect(page).to_have_title("hot · sensedict")
    cards = page.locator("article.card")
    expect(cards).to_have_count(3)
    expect(cards.first.locator("mark").first).to_have_text("𝒽ot")  # offsets are of characters, not of UTF-16 units
    expect(cards.first.locator(".near a").first).to_be_visible()
    expect(page.get_by_role("complementary", name="What the sources say")).to_contain_text("CC-BY-4.0")
    page.keyboard.type("x")
    page.keyboard.press("Escape")
    expect(page.locator("#suggestions")).to_be_hidden()


def test_back_and_links_lead_where_one_was(reader: Reader) -> None:
    page = reader.go(d="tiny@1", w="hot")
    page.get_by_role("link", name="Relations").click()
    page.get_by_role("link", name="cold", exact=True).click()
    title = page.get_by_role("heading", level=1)
    expect(title).to_have_text("cold")
    expect(title).to_be_focused()  # the link is gone, and the keyboard is not lost
    page.go_back()
    expect(title).to_have_text("hot")
    expect(page.get_by_role("link", name="Relations")).to_have_attribute("aria-current", "page")
    page.get_by_label("Dictionary").select_option("tiny@2")
    expect(page).to_have_url(re.compile("d=tiny%402"))
    expect(title).to_have_text("hot")


def test_relations_tell_where_they_come_from(reader: Reader) -> None:
    page = reader.go(d="tiny@1", w="kind", v="relations")
    synonyms = page.locator("section.group", has=page.get_by_role("heading", name="Synonyms"))
    synonyms.get_by_role("button", name="Where glad comes from").click()
    told = synonyms.locator(".explanation")
    expect(told).to_contain_text("opposites, 1")
    expect(told).to_contain_text("Apache-2.0")
    steps = told.locator(".chain li")
    expect(steps).to_have_count(2)
    expect(steps.first).to_contain_text("antonym")  # from what a source lists
    expect(steps.last).to_contain_text("by negation:un-")  # to what was made of it
    page.get_by_label("Filter the relations").fill("nothing such")
    expect(page.get_by_text("Nothing fits")).to_be_visible()


def test_the_map_moves_and_can_be_walked_with_keys(reader: Reader) -> None:
    page = reader.go(d="tiny@1", w="hot", v="map")
    plane = page.locator("svg.plane")
    marks = page.locator(".mark")
    expect(page.locator(".mark.own")).to_have_count(3)
    expect(page.locator(".mark.antonym")).to_have_count(3)  # of "cold"
    first = marks.last
    before = first.get_attribute("transform")
    plane.hover()
    page.mouse.wheel(0, -400)
    expect(first).not_to_have_attribute("transform", before or "")
    plane.focus()
    page.keyboard.press("0")
    expect(first).to_have_attribute("transform", before or "")
    page.keyboard.press("ArrowLeft")
    expect(first).not_to_have_attribute("transform", before or "")
    page.keyboard.press("0")
    box = plane.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    page.mouse.down()
    page.mouse.move(box["x"] + 65, box["y"] + 45, steps=4)
    page.mouse.up()
    expect(first).not_to_have_attribute("transform", before or "")
    page.keyboard.press("n")
    expect(page.locator(".details")).to_contain_text("hot sense 1")
    page.keyboard.press("p")
    page.keyboard.press("Enter")  # the last one is of another word
    expect(page.get_by_role("heading", level=1)).not_to_have_text("hot")


def test_two_fingers_zoom(chromium: Browser, explorer: Service) -> None:
    context = chromium.new_context(has_touch=True, viewport={"width": 360, "height": 740})
    page = Reader(context.new_page(), explorer).go(d="tiny@1", w="hot", v="map")
    own = page.locator(".mark.own")
    expect(own).to_have_count(3)
    page.locator("svg.plane").scroll_into_view_if_needed()
    box = page.locator("svg.plane").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    before = own.first.get_attribute("transform") or ""
    devtools = context.new_cdp_session(page)
    for kind, apart in (("touchStart", 20), ("touchMove", 40), ("touchMove", 80)):
        points = [{"x": x - apart, "y": y, "id": 0}, {"x": x + apart, "y": y, "id": 1}]
        devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    devtools.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    expect(own.first).not_to_have_attribute("transform", before)
    context.close()


def test_two_dictionaries_by_the_map_between_them_either_way_round(reader: Reader) -> None:
    page = reader.go(d="tiny@1", w="hot", v="compare", b="tiny@2")
    rows = page.locator("li.match")
    expect(rows).to_have_count(4)
    assert [row_of(row) for row in rows.all()] == [
        (["1", "3"], "kept"),
        (["2"], "gone"),
        (["3", "1"], "moved"),
        (["2"], "new"),
    ]
    reader.go(d="tiny@2", w="hot", v="compare", b="tiny@1")
    expect(page.locator("p.side").first).to_have_text("tiny@2")
    expect(rows).to_have_count(4)
    assert sorted(str(row.get_attribute("data-state")) for row in rows.all()) == ["gone", "kept", "moved", "new"]
    assert [ordinals for ordinals, state in map(row_of, rows.all()) if state == "moved"] == [["1", "3"]]


def row_of(row: Locator) -> tuple[list[str], str | None]:
    """Numbers of the senses on its sides, and what became of them."""
    return row.locator("h2").all_inner_texts(), row.get_attribute("data-state")


@pytest.mark.parametrize("word", [IMAGE, SCRIPT, ADDRESS, HEBREW, LONG, "hot"])
def test_texts_are_shown_and_never_run(reader: Reader, word: str) -> None:
    reader.page.set_viewport_size({"width": 360, "height": 740})
    for view, shown in (
        ("senses", ".near, .nothing"),
        ("relations", ".pairs, .nothing"),
        ("map", ".details, .nothing"),
        ("compare", ".matches, .two, .nothing"),
    ):
        page = reader.go(d="tiny@1", w=word, v=view)
        expect(page.locator("nav a[aria-current]")).to_have_text(re.compile(view, re.IGNORECASE))
        expect(page.get_by_role("heading", level=1)).to_have_text(word)
        expect(page.locator(".panel").locator(shown).first).to_be_attached()
        expect(page.get_by_text("Looking for what lies near")).to_have_count(0)
        for button in page.locator("button.origin").all():
            button.click()
        expect(page.get_by_text("Following it back")).to_have_count(0)
        assert page.locator("main img, main script, main iframe").count() == 0
        assert all(link.startswith("#") for link in hrefs(page))
        assert page.evaluate("document.documentElement.scrollWidth") <= 360  # nothing is wider than a narrow screen
    assert page.evaluate("window.hurt") is None
    assert all(url.startswith(f"{page.url.split('/explorer')[0]}/") for url in reader.asked)


def hrefs(page: Page) -> list[str]:
    found: list[str] = page.eval_on_selector_all("main a", "links => links.map(link => link.getAttribute('href'))")
    return found


def test_a_word_that_is_not_there_and_a_dictionary_that_is_not(reader: Reader) -> None:
    page = reader.go(d="tiny@1", w="hottest of all")
    expect(page.get_by_role("heading", name="No entry")).to_be_visible()
    page.get_by_role("link", name="hot", exact=True).click()
    expect(page.locator("article.card")).to_have_count(3)
    reader.go(d="nosuch@1", w="hot")
    expect(page.get_by_role("alert")).to_contain_text("choose another one above")
    reader.go(d="tiny@1", w="frost")
    expect(page.get_by_text("token without senses")).to_be_visible()


def test_a_service_that_is_away_is_told_of_and_tried_again(reader: Reader) -> None:
    page = reader.go(d="tiny@1", w="hot")
    expect(page.locator("article.card")).to_have_count(3)
    page.context.set_offline(True)
    page.get_by_role("link", name="Relations").click()
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("heading", name="Synonyms")).to_be_visible()
    reader.faults.clear()  # the browser told of the outage too


def test_colours_follow_the_system_until_the_reader_says_otherwise(chromium: Browser, explorer: Service) -> None:
    context = chromium.new_context(color_scheme="dark", reduced_motion="reduce")
    page = Reader(context.new_page(), explorer).go()
    button = page.get_by_role("button", name="Colours")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    button.click()
    expect(button).to_have_attribute("aria-label", "Colours: Light")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != dark
    page.reload()
    expect(button).to_have_attribute("aria-label", "Colours: Light")
    assert page.evaluate("getComputedStyle(document.querySelector('button')).transitionDuration") == "0s"
    context.close()


def test_every_part_has_a_name_for_those_who_do_not_see_it(reader: Reader) -> None:
    for view in ("senses", "relations", "map", "compare"):
        page = reader.go(d="tiny@1", w="hot", v=view)
        expect(page.locator("nav a[aria-current]")).to_have_text(re.compile(view, re.IGNORECASE))
        expect(page.locator(".loading")).to_have_count(0)
        nameless = page.eval_on_selector_all(
            "button, a, input, select, svg[tabindex]",
            """parts => parts.filter(part => part.checkVisibility() && !(part.textContent.trim()
                || part.getAttribute('aria-label') || part.labels?.[0]?.textContent.trim()))
                .map(part => part.outerHTML)""",
        )
        assert nameless == [], view
        assert page.locator("h1").count() == 1
        assert page.locator("main").count() == 1
        doubled = page.evaluate(
            "[...document.querySelectorAll('[id]')].map(e => e.id).filter((id, at, all) => all.indexOf(id) !== at)"
        )
        assert doubled == [], view


def test_the_page_is_usable_at_twice_the_size_of_its_letters(reader: Reader) -> None:
    reader.page.set_viewport_size({"width": 640, "height": 430})  # what 1280 × 860 leaves at 200 %
    page = reader.go(d="tiny@1", w="hot", v="compare", b="tiny@2")
    expect(page.locator("li.match")).to_have_count(4)
    assert page.evaluate("document.documentElement.scrollWidth") <= 640
