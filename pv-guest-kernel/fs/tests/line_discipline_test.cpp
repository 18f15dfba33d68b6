// SPDX-License-Identifier: BSD-2-Clause
// LineDiscipline: editing, echo, signals, modes.
#include "../../tty/line_discipline.hpp"

#include <gtest/gtest.h>

#include <string>

using namespace kernel::tty;

namespace {

class DisciplineTest : public ::testing::Test, public DisciplineHost {
protected:
    void echo(const char* text, std::size_t size) noexcept override { shown.append(text, size); }
    void signal(int number) noexcept override { last_signal = number; }
    void set_output_stopped(bool on) noexcept override { stopped = on; }
    void discard_output() noexcept override { discarded = true; }

    void type(const std::string& text) {
        for (const char c : text)
            discipline.input(c);
    }
    std::string take(std::size_t size = 4096) {
        std::string out(size, 0);
        out.resize(discipline.take(out.data(), size));
        return out;
    }
    void raw() {
        Termios settings = discipline.termios();
        settings.local &= ~(local_flag::icanon | local_flag::echo | local_flag::isig);
        settings.input &= ~input_flag::icrnl;
        discipline.set_termios(settings);
    }

    std::string shown;
    int last_signal{};
    bool stopped{};
    bool discarded{};
    LineDiscipline discipline{*this};
};

TEST_F(DisciplineTest, GivesWholeLines) {
    type("hel");
    EXPECT_FALSE(discipline.readable());
    type("lo\rworld\n");
    EXPECT_EQ(take(), "hello\n");
    EXPECT_EQ(take(2), "wo");
    EXPECT_EQ(take(), "rld\n");
    EXPECT_FALSE(discipline.readable());
    EXPECT_EQ(shown, "hello\r\nworld\r\n");
}

TEST_F(DisciplineTest, Edits) {
    type("abx\x7f"
         "c d\x17"
         "e\n");
    EXPECT_EQ(take(), "abc e\n");
    type("junk\x15ok\n");
    EXPECT_EQ(take(), "ok\n");
    type("\xc3\xa9\x7fz\n"); // one erase takes the whole UTF-8 character
    EXPECT_EQ(take(), "z\n");
}

TEST_F(DisciplineTest, EndOfFile) {
    type("\x04");
    EXPECT_TRUE(discipline.readable());
    EXPECT_EQ(take(), "");
    EXPECT_FALSE(discipline.readable());
    type("part\x04");
    EXPECT_EQ(take(), "part");
    EXPECT_FALSE(discipline.readable());
}

TEST_F(DisciplineTest, Signals) {
    type("abc\x03");
    EXPECT_EQ(last_signal, 2);
    EXPECT_TRUE(discarded);
    type("\n");
    EXPECT_EQ(take(), "\n");
    EXPECT_EQ(shown, "abc^C\r\n");
    type("\x1a");
    EXPECT_EQ(last_signal, 20);
}

TEST_F(DisciplineTest, LiteralNext) {
    type("\x16\x03\n");
    EXPECT_EQ(last_signal, 0);
    EXPECT_EQ(take(), "\x03\n");
}

TEST_F(DisciplineTest, RawModeGivesBytes) {
    raw();
    type("\x03\r");
    EXPECT_EQ(take(), "\x03\r");
    EXPECT_EQ(shown, "");
    EXPECT_EQ(last_signal, 0);
}

TEST_F(DisciplineTest, ModeSwitchKeepsInput) {
    type("half");
    raw();
    EXPECT_EQ(take(), "half");
    type("xy");
    discipline.set_termios(default_termios);
    EXPECT_EQ(take(), "xy");
}

TEST_F(DisciplineTest, FlowControl) {
    type("\x13");
    EXPECT_TRUE(stopped);
    type("\x11");
    EXPECT_FALSE(stopped);
}

TEST_F(DisciplineTest, LongLinesKeepRoomForTheirEnd) {
    type(std::string(10000, 'x') + "\n");
    const std::string line = take(10000);
    EXPECT_EQ(line.back(), '\n');
    EXPECT_LE(line.size(), 4096U);
    type("next\n");
    EXPECT_EQ(take(), "next\n");
}

TEST_F(DisciplineTest, OutputProcessing) {
    char out[16];
    std::size_t produced = 0;
    EXPECT_EQ(discipline.process_output("a\nb", 3, out, sizeof(out), produced), 3U);
    EXPECT_EQ(std::string(out, produced), "a\r\nb");
    EXPECT_EQ(discipline.process_output("\n\n\n", 3, out, 4, produced), 2U);
}

} // namespace
