// SPDX-License-Identifier: BSD-2-Clause
// Descriptor pages: the checks behind set_gdt, update_descriptor and lazily mapped LDT pages.
#pragma once

#include <core/frame/frame_table.hpp>

namespace cero {

/// Checks one descriptor and raises its DPL to 3 where the ABI says so. False: refused.
bool fix_descriptor(std::uint64_t& descriptor) noexcept;

/// Takes a reference and a `descriptors` type reference on a frame of the domain, checking (and
/// fixing in place) all its entries the first time. inval: not the domain's, or a refused
/// descriptor; busy: mapped writable, or in use as something else.
Status get_descriptor_frame(Domain& domain, MachineFrame frame) noexcept;
void put_descriptor_frame(MachineFrame frame) noexcept;

/// Hypercall update_descriptor: `address` is the machine address of an 8-byte descriptor.
Status update_descriptor(Vcpu& current, std::uint64_t address, std::uint64_t descriptor) noexcept;

} // namespace cero
