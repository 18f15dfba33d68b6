// SPDX-License-Identifier: BSD-2-Clause
// The page of hypercall stubs that a kernel may ask for.
#pragma once

namespace cero {

/// Writes 128 stubs of 32 bytes; each keeps rcx and r11. The page is writable to nobody else.
void fill_hypercall_page(unsigned char* page) noexcept;

} // namespace cero
