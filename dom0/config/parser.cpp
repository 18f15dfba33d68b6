// SPDX-License-Identifier: BSD-2-Clause
// Recursive-descent parser of xl.cfg syntax.
#include "config/parser.hpp"

#include <charconv>

namespace cero::config {

namespace {

constexpr unsigned nesting_max = 8;

constexpr bool is_letter(char c) noexcept {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
constexpr bool is_digit(char c) noexcept {
    return c >= '0' && c <= '9';
}
constexpr int hex_value(char c) noexcept {
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

class Parser {
public:
    Parser(std::string_view text, const std::string& source) : text_{text}, source_{source} {}

    std::vector<Setting> parse_all() {
        if (text_.size() > text_max)
            refuse({}, "the file is larger than 256 KiB");
        std::vector<Setting> settings;
        for (;;) {
            skip_blank(true);
            if (at_end())
                return settings;
            if (peek() == ';') {
                advance();
                continue;
            }
            settings.push_back(parse_setting());
        }
    }

    Value parse_value_alone() {
        skip_blank(false);
        Value value = parse_value(0);
        skip_blank(false);
        if (!at_end())
            refuse(at_, "unexpected text after the value");
        return value;
    }

private:
    [[noreturn]] void refuse(Position at, std::string_view text) const {
        throw ConfigError{source_, at, text};
    }
    [[nodiscard]] bool at_end() const noexcept { return next_ == text_.size(); }
    [[nodiscard]] char peek() const noexcept { return at_end() ? '\0' : text_[next_]; }
    char advance() noexcept {
        const char c = text_[next_++];
        if (c == '\n') {
            ++at_.line;
            at_.column = 1;
        } else {
            ++at_.column;
        }
        return c;
    }
    void skip_blank(bool over_lines) noexcept {
        while (!at_end()) {
            const char c = peek();
            if (c == '#') {
                while (!at_end() && peek() != '\n')
                    advance();
            } else if (c == ' ' || c == '\t' || c == '\r' || (over_lines && c == '\n')) {
                advance();
            } else if (c == '\\' && next_ + 1 < text_.size() && text_[next_ + 1] == '\n') {
                advance();
                advance();
            } else {
                return;
            }
        }
    }

    Setting parse_setting() {
        Setting setting;
        setting.at = at_;
        setting.source = source_;
        if (!is_letter(peek()))
            refuse(at_, "expected the name of a setting");
        while (is_letter(peek()) || is_digit(peek()))
            setting.key += advance();
        skip_blank(false);
        if (peek() == '+') {
            advance();
            setting.append = true;
        }
        if (peek() != '=')
            refuse(at_, fmt::format("expected \"=\" after \"{}\"", setting.key));
        advance();
        skip_blank(false);
        setting.value = parse_value(0);
        skip_blank(false);
        if (!at_end() && peek() != '\n' && peek() != ';')
            refuse(at_, fmt::format("unexpected text after the value of \"{}\"", setting.key));
        return setting;
    }

    Value parse_value(unsigned depth) {
        const Position at = at_;
        const char c = peek();
        if (c == '"' || c == '\'')
            return {parse_string(), at};
        if (is_digit(c) || c == '-')
            return {parse_number(), at};
        if (c == '[') {
            if (depth == nesting_max)
                refuse(at, "lists are nested too deeply");
            return {parse_list(depth), at};
        }
        if (is_letter(c))
            refuse(at, "expected a number, a quoted string or a list; put quotes around a word");
        refuse(at, "expected a number, a quoted string or a list");
    }

    std::vector<Value> parse_list(unsigned depth) {
        const Position open = at_;
        advance();
        std::vector<Value> values;
        for (;;) {
            skip_blank(true);
            if (at_end())
                refuse(open, "this \"[\" is never closed");
            if (peek() == ']') {
                advance();
                return values;
            }
            values.push_back(parse_value(depth + 1));
            skip_blank(true);
            if (peek() == ',')
                advance();
            else if (!at_end() && peek() != ']')
                refuse(at_, "expected \",\" or \"]\"");
        }
    }

    std::int64_t parse_number() {
        const Position at = at_;
        std::string digits;
        while (is_digit(peek()) || is_letter(peek()) || peek() == '-')
            digits += advance();
        std::string_view rest = digits;
        const bool negative = rest.starts_with('-');
        if (negative)
            rest.remove_prefix(1);
        int base = 10;
        if (rest.starts_with("0x") || rest.starts_with("0X")) {
            base = 16;
            rest.remove_prefix(2);
        } else if (rest.size() > 1 && rest.front() == '0') {
            base = 8;
        }
        std::int64_t number = 0;
        const auto [stop, error] =
            std::from_chars(rest.data(), rest.data() + rest.size(), number, base);
        if (error != std::errc{} || stop != rest.data() + rest.size() || rest.empty())
            refuse(at, fmt::format("\"{}\" is no number; put quotes around a string", digits));
        return negative ? -number : number;
    }

    std::string parse_string() {
        const Position open = at_;
        const char quote = advance();
        std::string text;
        for (;;) {
            if (at_end() || peek() == '\n')
                refuse(open, "this string is never closed");
            const Position at = at_;
            const char c = advance();
            if (c == quote)
                return text;
            if (c == '\0')
                refuse(at, "a NUL byte in a string");
            text += c == '\\' ? parse_escape() : c;
        }
    }

    char parse_escape() {
        const Position at = at_;
        if (at_end())
            refuse(at, "the file ends in an escape sequence");
        const char c = advance();
        switch (c) {
        case 'n':
            return '\n';
        case 't':
            return '\t';
        case 'r':
            return '\r';
        case '\\':
        case '"':
        case '\'':
            return c;
        case 'x': {
            int value = 0;
            for (int i = 0; i < 2; ++i) {
                const int digit = hex_value(peek());
                if (digit < 0)
                    refuse(at, "\\x needs two hexadecimal digits");
                value = value * 16 + digit;
                advance();
            }
            if (value == 0)
                refuse(at, "a NUL byte in a string");
            return static_cast<char>(value);
        }
        default:
            refuse(at, fmt::format("unknown escape sequence \"\\{}\"", c));
        }
    }

    std::string_view text_;
    const std::string& source_;
    std::size_t next_{0};
    Position at_;
};

} // namespace

std::vector<Setting> parse(std::string_view text, const std::string& source) {
    return Parser{text, source}.parse_all();
}

Setting parse_override(std::string_view text) {
    const std::string source = "command line";
    const std::size_t equals = text.find('=');
    std::string_view key = text.substr(0, equals);
    while (!key.empty() && key.back() == ' ')
        key.remove_suffix(1);
    bool valid = equals != std::string_view::npos && !key.empty() && is_letter(key.front());
    for (const char c : key)
        valid = valid && (is_letter(c) || is_digit(c));
    if (!valid)
        throw Error{ExitCode::usage, fmt::format("\"{}\": expected key=value", text),
                    "After the configuration file, each argument sets one key: memory=64"};
    std::string_view rest = text.substr(equals + 1);
    while (rest.starts_with(' '))
        rest.remove_prefix(1);
    Setting setting;
    setting.key = key;
    setting.source = source;
    const bool is_plain_number = !rest.empty() && rest.find_first_not_of("0123456789") == rest.npos;
    if (is_plain_number || rest.starts_with('"') || rest.starts_with('\'') || rest.starts_with('['))
        setting.value = Parser{rest, source}.parse_value_alone();
    else
        setting.value = {std::string{rest}, {}};
    return setting;
}

} // namespace cero::config
