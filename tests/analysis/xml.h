// A strict reader of the XML that the figures are made of: checks that elements nest and close,
// attributes are quoted and unique, entities are known; gives the elements back for assertions.
#pragma once
#include <doctest/doctest.h>

#include <map>
#include <string>
#include <vector>

namespace basin::testing {

struct XmlElement {
  std::string name;
  std::map<std::string, std::string> attributes;
  std::string text;    // of this element alone, unescaped
  std::string parent;  // name
};

class XmlReader {
 public:
  explicit XmlReader(const std::string& text) : s_(text) {}

  std::vector<XmlElement> read() {
    if (s_.compare(0, 5, "<?xml") == 0) at_ = s_.find("?>") + 2;
    while (at_ < s_.size()) {
      if (s_[at_] == '<') {
        tag();
      } else {
        const char c = next_character();
        if (!open_.empty()) {
          elements_[open_.back()].text += c;
        } else {
          REQUIRE_MESSAGE(std::isspace(static_cast<unsigned char>(c)), "text outside the root");
        }
      }
    }
    REQUIRE_MESSAGE(open_.empty(), "elements are left open");
    return elements_;
  }

 private:
  char next_character() {
    if (s_[at_] != '&') return s_[at_++];
    for (const auto& [entity, c] : std::map<std::string, char>{
             {"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}}) {
      if (s_.compare(at_, entity.size(), entity) == 0) {
        at_ += entity.size();
        return c;
      }
    }
    FAIL("unknown entity at ", at_);
    return 0;
  }
  void spaces() {
    while (std::isspace(static_cast<unsigned char>(s_.at(at_)))) ++at_;
  }
  std::string word() {
    const size_t end = s_.find_first_of(" \t\n/>=", at_);
    const std::string out = s_.substr(at_, end - at_);
    REQUIRE(!out.empty());
    at_ = end;
    return out;
  }

  void tag() {
    ++at_;
    if (s_.at(at_) == '/') {
      ++at_;
      const std::string name = word();
      REQUIRE(!open_.empty());
      REQUIRE(elements_[open_.back()].name == name);
      open_.pop_back();
      REQUIRE(s_.at(at_) == '>');
      ++at_;
      return;
    }
    XmlElement e;
    e.name = word();
    if (!open_.empty()) e.parent = elements_[open_.back()].name;
    bool closed = false;
    while (true) {
      spaces();
      if (s_.at(at_) == '>' || s_.at(at_) == '/') {
        closed = s_.at(at_) == '/';
        at_ += closed ? 2 : 1;
        REQUIRE(s_.at(at_ - 1) == '>');
        break;
      }
      const std::string key = word();
      REQUIRE(s_.compare(at_, 2, "=\"") == 0);
      at_ += 2;
      std::string value;
      while (s_.at(at_) != '"') {
        REQUIRE(s_.at(at_) != '<');
        value += next_character();
      }
      ++at_;
      REQUIRE_MESSAGE(e.attributes.emplace(key, value).second, "attribute twice: ", key);
    }
    elements_.push_back(e);
    if (!closed) open_.push_back(elements_.size() - 1);
  }

  const std::string& s_;
  size_t at_ = 0;
  std::vector<XmlElement> elements_;
  std::vector<size_t> open_;
};

inline std::vector<XmlElement> parse_xml(const std::string& text) { return XmlReader(text).read(); }

// Titles inside elements called `name`: the hints of shapes.
inline std::vector<std::string> hints_of(const std::vector<XmlElement>& all,
                                         const std::string& name) {
  std::vector<std::string> out;
  for (const XmlElement& e : all) {
    if (e.name == "title" && e.parent == name) out.push_back(e.text);
  }
  return out;
}

}  // namespace basin::testing
