; The checks.
        T0 "divide by zero"
        div ecx
        END
        T3 "divide by zero, level 3"
        div ecx
        END
        T0 "ud2"
        ud2
        END
        T3 "int3"
        int3
        END
        T3 "into"
        mov al, 0x7f
        add al, 1
        into
        END
        T0 "bound"
        mov dword [0x9000], 5
        mov dword [0x9004], 6
        mov eax, 7
        bound eax, [0x9000]
        END
        T3 "int 0x21"
        int 0x21
        END
        T3 "int 0x31, trap gate with IF"
        int 0x31
        END
        T3 "int 0x32"
        int 0x32
        END
        T0 "int 0x33"
        int 0x33
        END
        T0 "int 0x34"
        int 0x34
        END
        T0 "int 0x35"
        int 0x35
        END
        T0 "int 0x36"
        int 0x36
        END
        T3 "int 0x37, conforming"
        mov dword [IDT + 0x37 * 8], (CONFORM << 16) + gate_target - 0xf0000
        int 0x37
        END
        T0 "int 0x38"
        int 0x38
        END
        T0 "int 0x3b"
        int 0x3b
        END
        T0 "int 0x3c"
        int 0x3c
        END
        T3 "int 0x80"
        int 0x80
        END
        T0 "single step"
        push dword 0x102
        popfd
        nop
        nop
        END
; Exceptions of vector %1 switch to the second task, which has the error code in EAX.
%macro TO_TASK 1
        mov dword [IDT + %1 * 8], SEL_TSS1 << 16
        mov dword [IDT + %1 * 8 + 4], 0x8500
        mov dword [TSS1 + 32], task_error
%endmacro
        T3 "no stack for level 0"
        TO_TASK 10
        mov dword [TSS0 + 8], 0
        ud2
        END
        T3 "stack of level 0 is code"
        TO_TASK 10
        mov dword [TSS0 + 8], CODE0
        int 0x30
        END
        T0 "double fault"
        mov word [IDT + 13 * 8 + 2], ABSENT
        int 0x33
        mov byte [IDT + 11 * 8 + 5], 0
        int 0x33
        END
        T0 "double fault of #GP in #GP"
        mov byte [IDT + 13 * 8 + 5], 0
        int 0x80
        END

; Instructions that need privilege.
%macro PRIVILEGED 2+
        T3 %1
        %2
        END
%endmacro
        PRIVILEGED "hlt", hlt
        PRIVILEGED "cli", cli
        PRIVILEGED "in al, 0x80", in al, 0x80
        PRIVILEGED "in al, 0x81", in al, 0x81
        PRIVILEGED "in ax, 0x80", in ax, 0x80
        PRIVILEGED "lgdt", lgdt [0x9000]
        PRIVILEGED "lmsw", lmsw ax
        PRIVILEGED "clts", clts
        PRIVILEGED "mov eax, cr0", mov eax, cr0
        PRIVILEGED "mov dr7, eax", mov dr7, eax
        PRIVILEGED "invlpg", invlpg [0]
        PRIVILEGED "wbinvd", wbinvd
        PRIVILEGED "rdmsr", rdmsr
        PRIVILEGED "ltr", ltr ax
        PRIVILEGED "lldt", lldt ax
        PRIVILEGED "rdpmc", rdpmc
        T3 "popfd at level 3"
        push dword 0x3202
        popfd
        END
        mov dword [uflags], 0x3002
        T3 "cli with IOPL 3"
        cli
        END
        T3 "sti and popfd with IOPL 3"
        sti
        push dword 0x0002
        popfd
        END
        mov dword [uflags], 2
; Segment registers.
        T0 "mov ss, null"
        mov ss, ax
        END
        T0 "mov ds, null; load"
        mov ds, ax
        mov eax, [ds:0x9000]
        END
        T0 "mov ss, not present"
        mov ax, ABSENT
        mov ss, ax
        END
        T0 "beyond the limit"
        mov ax, LOW
        mov ds, ax
        mov eax, [0xffc]
        mov eax, [0xffd]
        END
        T0 "beyond the limit of the stack"
        mov ax, LOW
        mov ss, ax
        mov esp, 0x1000
        push eax
        mov eax, [esp + 1]
        END
        T0 "expand-down"
        mov ax, DOWN
        mov ds, ax
        mov eax, [0xe000]
        mov eax, [0xdfff]
        END
        T0 "write to a segment that can be read"
        mov ax, READONLY
        mov ds, ax
        mov eax, [0x9000]
        mov [0x9000], eax
        END
        T0 "write to code"
        mov [cs:0x9000], eax
        END
        T0 "pop ds beyond the table"
        push dword 0x3f8
        pop ds
        END
        T0 "a selector of no LDT"
        mov ax, 0x0c
        mov ds, ax
        END
        T0 "a selector of the LDT, then beyond it"
        mov ax, SEL_LDT
        lldt ax
        mov ax, 0x0c
        mov ds, ax
        mov ax, 0x24
        mov es, ax
        END
        T0 "lss to a segment of level 3"
        mov dword [0x9000], STACK0
        mov word [0x9004], DATA3
        lss esp, [0x9000]
        END
        T0 "lldt of data"
        mov ax, DATA0
        lldt ax
        END
        T0 "ltr of a busy task"
        mov ax, SEL_TSS
        ltr ax
        END
        T0 "ltr of null"
        ltr ax
        END

; Loads of DS and SS with each type of descriptor; each line one combination, 32 types in it.
%macro DESCRIPTORS 2                                    ; name, code
        SAY %1
        mov al, 10
        call putc
        mov dword [i], 0                                ; level (bit 2), DPL (bit 1), present (bit 0)
%%line: HEX [i], 1
        mov dword [j], 0
%%type: mov dword [terse], 1
        call setup
        mov dword [next], %%next
        mov eax, [j]
        mov edx, [i]
        mov ecx, edx
        and ecx, 1
        shl ecx, 7
        or eax, ecx
        test dl, 2
        jz %%dpl0
        or al, 0x60
%%dpl0: shl eax, 8
        or eax, 0x00cf0000
        mov dword [GDT + SCRATCH], 0x0000ffff
        mov [GDT + SCRATCH + 4], eax
        mov esp, STACK0
        test dl, 4
        jz %%code
        mov edi, %%code
        jmp to_user
%%code:
        mov ebx, cs
        and ebx, 3
        %2
        int 0x30
%%next: inc dword [j]
        cmp dword [j], 32
        jb %%type
        mov al, 10
        call putc
        inc dword [i]
        cmp dword [i], 8
        jb %%line
        mov dword [terse], 0
%endmacro
%macro LOAD_DS 0
        lea eax, [ebx + SCRATCH]
        mov ds, ax
%endmacro
%macro LOAD_SS 0
        lea eax, [ebx + SCRATCH]
        mov ss, ax
        ; A stack that expands down has no room.
        mov eax, DATA0
        test ebx, ebx
        jz %%level0
        mov eax, DATA3
%%level0:
        mov ss, ax
%endmacro
        DESCRIPTORS "mov ds", LOAD_DS
        DESCRIPTORS "mov ss", LOAD_SS

; Far jumps, returns and IRETs to code of each type; system segments are left to other checks.
%macro TO_CODE 0
        cmp dword [ss:j], 16
        jae %%go
        int 0x30
%%go:
%endmacro
%macro FAR_JUMP 0
        TO_CODE
        jmp dword SCRATCH:gate_target
%endmacro
%macro FAR_JUMP3 0
        TO_CODE
        jmp dword (SCRATCH | 3):gate_target
%endmacro
%macro FAR_RETURN 0
        TO_CODE
        push dword DATA3
        push dword USER
        lea eax, [ebx + SCRATCH]
        push eax
        push dword gate_target
        retf
%endmacro
%macro FAR_RETURN3 0
        TO_CODE
        push dword DATA3
        push dword USER
        push dword SCRATCH | 3
        push dword gate_target
        retf
%endmacro
%macro INT_RETURN 0
        TO_CODE
        push dword DATA3
        push dword USER
        push dword 2
        push dword SCRATCH | 3
        push dword gate_target
        iretd
%endmacro
        DESCRIPTORS "jmp far", FAR_JUMP
        DESCRIPTORS "jmp far, RPL 3", FAR_JUMP3
        DESCRIPTORS "retf", FAR_RETURN
        DESCRIPTORS "retf, RPL 3", FAR_RETURN3
        DESCRIPTORS "iretd, RPL 3", INT_RETURN

; LAR, LSL, VERR and VERW: a bit of EAX for each type that has them.
%macro VISIBLE 2
        T0 %1
        xor ebp, ebp
%%type: mov edx, ebp
        or edx, 0x80
        shl edx, 8
        or edx, 0x00cf0000
        mov dword [GDT + SCRATCH + 4], edx
        mov ecx, SCRATCH
        %2
        jnz %%no
        bts eax, ebp
%%no:   inc ebp
        cmp ebp, 32
        jb %%type
        END
%endmacro
        VISIBLE "lar", {lar edx, ecx}
        VISIBLE "lsl", {lsl edx, ecx}
        VISIBLE "verr", {verr cx}
        VISIBLE "verw", {verw cx}
        T0 "values of lar and lsl"
        mov cx, LOW
        lar eax, ecx
        lsl edx, ecx
        add eax, edx
        END
        T3 "lar, lsl, verr, verw of level 0 from level 3"
        mov cx, DATA0
        lar eax, ecx
        setz al
        lsl edx, ecx
        setz ah
        verr cx
        setz bl
        or al, bl
        verw cx
        setz bl
        or ah, bl
        mov cx, CONFORM
        lar edx, ecx
        setz bl
        shl ebx, 16
        or eax, ebx
        END
        T3 "arpl"
        mov ax, 0x40
        mov cx, 3
        arpl ax, cx
        END

; Call gates.
        T3 "call gate with two parameters"
        push dword 0x11112222
        push dword 0x33334444
        mov dword [GDT + GATE32], (CODE0 << 16) + gate_params - 0xf0000
        call dword (GATE32 | 3):0
        END
        T3 "call gate and back"
        push dword 0x11112222
        push dword 0x33334444
        mov dword [GDT + GATE32], (CODE0 << 16) + gate_return - 0xf0000
        call dword (GATE32 | 3):0
        mov eax, esp
        END
        T3 "call gate of 16 bits"
        mov byte [GDT + GATE16 + 4], 0
        call dword GATE16:0
        END
        T3 "call gate not allowed"
        mov byte [GDT + GATE32 + 5], 0x8c
        call dword GATE32:0
        END
        T3 "call gate not present"
        mov byte [GDT + GATE32 + 5], 0x6c
        call dword GATE32:0
        END
        T3 "call gate to data"
        mov word [GDT + GATE32 + 2], DATA0
        call dword GATE32:0
        END
        T3 "call gate to null"
        mov word [GDT + GATE32 + 2], 0
        call dword GATE32:0
        END
        T3 "call gate to code that is not present"
        mov word [GDT + GATE32 + 2], ABSENT
        mov byte [GDT + ABSENT + 5], 0x1b
        call dword GATE32:0
        END
        T3 "jmp through a gate to level 0"
        jmp dword GATE32:0
        END
        T3 "call gate to conforming code"
        mov word [GDT + GATE32 + 2], CONFORM
        call dword GATE32:0
        END
        T0 "call gate at level 0"
        call dword GATE32:0
        END
        T3 "call gate: stack of the task state is not present"
        TO_TASK 10
        TO_TASK 12
        mov word [TSS0 + 8], ABSENT
        call dword GATE32:0
        END
        T0 "retf to level 3 takes away segments"
        mov ax, DATA0
        mov ds, ax
        mov ax, DATA3
        mov es, ax
        mov ax, CONFORM
        mov fs, ax
        mov ax, SCRATCH
        mov dword [ss:GDT + SCRATCH], 0x0000ffff
        mov dword [ss:GDT + SCRATCH + 4], 0x00cf9b00
        mov gs, ax
        push dword DATA3
        push dword USER
        push dword CODE3
        push dword gate_target
        xor eax, eax
        retf
        END
        T0 "retf to a stack of level 0"
        push dword DATA0
        push dword USER
        push dword CODE3
        push dword gate_target
        retf
        END
        T0 "retf to a null stack"
        push dword 0
        push dword USER
        push dword CODE3
        push dword gate_target
        retf
        END
        T0 "iretd sets what level 0 may"
        push dword 0x247202
        push dword CODE0
        push dword gate_target
        iretd
        END
        T3 "iretd at level 3 sets what that may"
        push dword 0x247202
        push dword CODE3
        push dword gate_target
        iretd
        END

; Task switches.
        T0 "call task"
        call dword SEL_TSS1:0
        END
        T0 "jmp task"
        jmp dword SEL_TSS1:0
        END
        T0 "call task gate"
        call dword TASKGATE:0
        END
        T3 "call task gate from level 3"
        call dword TASKGATE:0
        END
        T3 "int through a task gate"
        int 0x39
        END
        T0 "call task of 16 bits"
        call dword SEL_TSS2:0
        END
        T0 "busy bits, back link, NT, CR0.TS of a call"
        mov dword [TSS1 + 32], task_state
        call dword SEL_TSS1:0
        END
        T0 "busy bits of a jump"
        mov dword [TSS1 + 32], task_state
        jmp dword SEL_TSS1:0
        END
        T0 "call task and return"
        mov dword [TSS1 + 32], task_return
        mov eax, 0x12345678
        call dword SEL_TSS1:0
        mov ecx, [TSS1 + 40]
        movzx eax, byte [GDT + SEL_TSS1 + 5]
        END
        T0 "what is saved of the old task"
        mov dword [TSS1 + 32], task_saved
        mov eax, 0x12345678
        call dword SEL_TSS1:0
        END
        T0 "task not present"
        mov byte [GDT + SEL_TSS1 + 5], 0x09
        call dword SEL_TSS1:0
        END
        T0 "task busy"
        mov byte [GDT + SEL_TSS1 + 5], 0x8b
        call dword SEL_TSS1:0
        END
        T0 "task state too small"
        mov word [GDT + SEL_TSS1], 0x66
        call dword SEL_TSS1:0
        END
; Exceptions of the new task need tasks of their own, as its stack may be unusable. EAX is the error code, above it the task that
; had the exception; bit 31 if it is another one than #TS.
%macro IN_TASKS 0
        mov dword [IDT + 10 * 8], SEL_TSS3 << 16
        mov dword [IDT + 10 * 8 + 4], 0x8500
 %assign n 11
 %rep 3
        mov dword [IDT + n * 8], SEL_TSS4 << 16
        mov dword [IDT + n * 8 + 4], 0x8500
  %assign n n + 1
 %endrep
%endmacro
        T0 "task with a null stack"
        IN_TASKS
        mov dword [TSS1 + 80], 0
        call dword SEL_TSS1:0
        END
        T0 "task with a stack of code"
        IN_TASKS
        mov dword [TSS1 + 80], CODE0
        call dword SEL_TSS1:0
        END
        T0 "task with a stack that is not present"
        IN_TASKS
        mov dword [TSS1 + 80], ABSENT
        call dword SEL_TSS1:0
        END
        T0 "task with data for code"
        IN_TASKS
        mov dword [TSS1 + 76], DATA0
        call dword SEL_TSS1:0
        END
        T0 "task with code of level 3"
        IN_TASKS
        mov dword [TSS1 + 76], CODE3
        call dword SEL_TSS1:0
        END
        T0 "task with a segment beyond the table"
        IN_TASKS
        mov dword [TSS1 + 84], 0x3f8
        call dword SEL_TSS1:0
        END
        T0 "task with a segment that is not present"
        IN_TASKS
        mov dword [TSS1 + 84], ABSENT
        call dword SEL_TSS1:0
        END
        T0 "task with an LDT that is none"
        IN_TASKS
        mov dword [TSS1 + 96], DATA0
        call dword SEL_TSS1:0
        END
        T0 "task with an LDT"
        IN_TASKS
        mov dword [TSS1 + 96], SEL_LDT
        mov dword [TSS1 + 84], 0x0c
        call dword SEL_TSS1:0
        END
        T0 "task with the trap bit"
        mov word [TSS1 + 100], 1
        call dword SEL_TSS1:0
        END
        T0 "task with EIP beyond the limit"
        IN_TASKS
        mov dword [GDT + SCRATCH], 0x00000fff
        mov dword [GDT + SCRATCH + 4], 0x00409b00
        mov dword [TSS1 + 76], SCRATCH
        call dword SEL_TSS1:0
        END
        T0 "iretd with NT and a back link that is no task"
        mov word [TSS0], DATA0
        push dword 0x4002
        popfd
        iretd
        END
        T0 "iretd with NT and a back link to a task that is not busy"
        mov word [TSS0], SEL_TSS1
        push dword 0x4002
        popfd
        iretd
        END
        T3 "task of level 0 from level 3"
        mov byte [GDT + TASKGATE + 5], 0x85
        call dword TASKGATE:0
        END
        T0 "task at level 3"
        mov dword [TSS1 + 76], CODE3
        mov dword [TSS1 + 80], DATA3
        mov dword [TSS1 + 72], DATA3
        mov dword [TSS1 + 84], DATA3
        call dword SEL_TSS1:0
        END
        T0 "task in virtual-8086 mode"
        mov dword [TSS1 + 36], 0x23002
        mov dword [TSS1 + 76], 0xf000
        mov dword [TSS1 + 80], 0x0a00
        mov dword [TSS1 + 56], 0x100
        mov dword [TSS1 + 32], task_code16 - 0xf0000
        call dword SEL_TSS1:0
        END

; Page faults: read, write, read-modify-write and execution for each combination of the bits present, write and user of the
; directory's entry (a line) and the table's (a column).
        SAY "page faults"
        mov al, 10
        call putc
        mov dword [l], 0                                ; level 3 (bit 1), CR0.WP (bit 0)
.level: mov dword [i], 0
.line:  HEX [l], 1
        mov al, ' '
        call putc
        HEX [i], 1
        mov al, ':'
        call putc
        mov dword [j], 0
.column:
        mov dword [k], 0
.access:
        mov dword [terse], 1
        call setup
        mov dword [next], .next
        mov eax, [i]
        or eax, PT1
        mov [DIR + 4], eax
        mov eax, [j]
        or eax, PAGE
        mov [PT1], eax
        mov eax, 0x80000011
        test byte [l], 1
        jz .no_wp
        or eax, 0x10000
.no_wp: mov cr0, eax
        mov ebx, [k]
        mov edi, [.accesses + ebx * 4]
        mov esp, STACK0
        test byte [l], 2
        jnz to_user
        jmp edi
.accesses: dd .read, .write, .modify, .execute
.read:  mov eax, [VA + 8]
        int 0x30
.write: mov [VA + 8], eax
        int 0x30
.modify:
        lock or dword [VA + 8], eax
        int 0x30
.execute:
        mov eax, VA
        jmp eax
.next:  inc dword [k]
        cmp dword [k], 4
        jb .access
        mov al, '|'
        call putc
        inc dword [j]
        cmp dword [j], 8
        jb .column
        mov al, 10
        call putc
        inc dword [i]
        cmp dword [i], 8
        jb .line
        inc dword [l]
        cmp dword [l], 4
        jb .level
        mov dword [terse], 0

%macro PAGED 2                                          ; name, entry of the table
        T0 %1
        mov dword [PT1], PAGE | (%2)
        mov eax, 0x80010011
        mov cr0, eax
%endmacro
%macro PAGED3 2
        T0 %1
        mov dword [PT1], PAGE | (%2)
        mov eax, 0x80010011
        mov cr0, eax
        mov edi, %%code
        mov dword [start], %%code
        jmp to_user
%%code:
%endmacro
        PAGED "accessed and dirty: read", 7
        mov eax, [VA]
        mov eax, [PT1]
        END
        PAGED "accessed and dirty: write", 7
        mov [VA + 8], eax
        mov eax, [PT1]
        END
        PAGED "accessed and dirty: compare", 7
        cmp [VA + 8], eax
        mov eax, [PT1]
        END
        PAGED "accessed and dirty: add", 7
        add [VA + 8], eax
        mov eax, [PT1]
        END
        PAGED "accessed: directory", 0
        mov byte [VA + 0x1000], 0
        END
        PAGED3 "across pages", 7
        mov eax, 0x55555555
        mov [VA + 0xffe], eax
        END
        PAGED3 "add across pages, the first not present", 0
        mov dword [PT1 + 4], PAGE | 7
        add dword [VA + 0xffe], 5
        END
        PAGED3 "push", 5
        mov esp, VA + 0x100
        push eax
        END
        PAGED3 "pop to memory", 5
        mov dword [USER - 4], 0
        mov esp, USER - 4
        pop dword [VA]
        END
        PAGED3 "enter", 5
        mov esp, VA + 0x100
        enter 8, 0
        END
        PAGED3 "pusha", 5
        mov esp, VA + 0x100
        pusha
        END
        PAGED3 "call", 5
        mov esp, VA + 0x100
        call gate_target
        END
        PAGED3 "rep movsd across pages", 7
        mov esi, 0x9000
        mov edi, VA + 0xff0
        mov ecx, 100
        rep movsd
        END
        PAGED3 "rep stosb across pages", 7
        mov edi, VA + 0xfe1
        mov ecx, 1000
        rep stosb
        END
        PAGED3 "cmpxchg that fails on a page that can be read", 5
        mov eax, 1
        cmpxchg [VA + 8], ecx
        END
        PAGED3 "cmpxchg8b", 5
        cmpxchg8b [VA + 8]
        END
        PAGED3 "xchg", 5
        xchg [VA + 8], eax
        END
        PAGED3 "bts", 5
        mov eax, 100
        bts [VA], eax
        END
        PAGED3 "inc across pages to one that can be read", 7
        mov dword [PT1 + 4], PAGE | 5
        inc dword [VA + 0xffd]
        END
        PAGED3 "a page of level 0", 3
        mov eax, [VA]
        END
        PAGED "stack on a page that is missing: double fault by a task gate", 0
        TO_TASK 8
        mov esp, VA + 0x100
        push eax
        END
        T0 "a large page"
        mov dword [DIR + 4], 0x87
        mov eax, 0x10
        mov cr4, eax
        mov eax, 0x80010011
        mov cr0, eax
        mov dword [VA + 0x9000], 0x1234
        mov eax, [DIR + 4]
        END
        T0 "a large page with a reserved bit"
        mov dword [DIR + 4], 0x200087
        mov eax, 0x10
        mov cr4, eax
        mov eax, 0x80010011
        mov cr0, eax
        mov eax, [VA]
        END
        T0 "invlpg makes a change seen"
        mov dword [PT1], PAGE | 7
        mov eax, 0x80010011
        mov cr0, eax
        mov eax, [VA]
        mov dword [PT1], 0
        invlpg [VA]
        mov eax, [VA]
        END
        T0 "alignment at level 0 is not checked"
        mov eax, 0x40011
        mov cr0, eax
        push dword 0x40002
        popfd
        mov eax, [0x9001]
        END
        mov dword [uflags], 0x40002
        T0 "alignment at level 3"
        mov eax, 0x40011
        mov cr0, eax
        mov edi, .unaligned
        mov dword [start], .unaligned
        jmp to_user
.unaligned:
        mov eax, [0x9002]
        END
        mov dword [uflags], 2

; Debug registers.
        T0 "data breakpoint"
        mov eax, 0x9000
        mov dr0, eax
        mov eax, 0xd0402
        mov dr7, eax
        mov [0x8ffc], eax
        mov [0x9000], eax
        nop
        END
        T0 "instruction breakpoint"
        mov eax, .broken
        mov dr0, eax
        mov eax, 0x402
        mov dr7, eax
        nop
.broken:
        nop
        END
        T0 "general detect"
        mov eax, 0x2400
        mov dr7, eax
        mov eax, dr6
        END
        T0 "causes are kept"
        mov eax, 0x400
        mov dr7, eax
        mov eax, dr6
        END
        T0 "single step of a repetition"
        mov ecx, 5
        mov edi, 0x9000
        push dword 0x102
        popfd
        rep stosb
        END

; Virtual-8086 mode.
        TV "v86: hlt", 3
        hlt
        END
        TV "v86: cli with IOPL 3", 3
        cli
        END
        TV "v86: cli", 0
        cli
        END
        TV "v86: int 0x30 with IOPL 3", 3
        mov ax, 0x1234
        END
        TV "v86: int 0x30", 0
        END
        TV "v86: int 0x21 with IOPL 3", 3
        int 0x21
        END
        TV "v86: int3", 0
        int3
        END
        TV "v86: pushf", 0
        pushf
        END
        TV "v86: popf with IOPL 3", 3
        push word 0x7202
        popf
        pushf
        pop ax
        END
        TV "v86: iret with IOPL 0", 0
        iret
        END
        TV "v86: iret with IOPL 3", 3
        push word 0x3002
        push cs
        push word gate_target16 - 0xf0000
        iret
        END
        TV "v86: mov eax, cr0", 3
        mov eax, cr0
        END
        TV "v86: lar", 3
        lar ax, cx
        END
        TV "v86: sldt", 3
        sldt ax
        END
        TV "v86: lgdt", 3
        lgdt [bx]
        END
        TV "v86: smsw", 3
        smsw ax
        and ax, 15
        END
        TV "v86: in al, 0x80", 3
        in al, 0x80
        END
        TV "v86: in al, 0x81", 3
        in al, 0x81
        END
        TV "v86: segments", 3
        mov ax, 0x0900
        mov ds, ax
        mov dword [0], 0x55667788
        xor ax, ax
        mov es, ax
        mov eax, [es:0x9000]
        END
        TV "v86: beyond 64 KiB", 3
        mov eax, [dword 0xfffd]
        END
        TV "v86: beyond 64 KiB of the stack", 3
        mov esp, 2
        push eax
        mov sp, 1
        push eax
        END
        TV "v86: far jump", 3
        jmp 0xf000:gate_target16 - 0xf0000
        END
        TV "v86: far return", 3
        push word 0xf000
        push word gate_target16 - 0xf0000
        retf
        END
        TV "v86: lock in front of what cannot be locked", 3
        db 0xf0
        nop
        END
        TV "v86: divide by zero", 0
        xor cx, cx
        div cx
        END
        T0 "int to a handler of level 3 from virtual-8086 mode"
        mov word [IDT + 0x31 * 8 + 2], CODE3
        mov dword [start], 0
        push dword 0
        push dword 0
        push dword 0
        push dword 0
        push dword 0x0a00
        push dword 0x0100
        push dword 0x23002
        push dword 0xf000
        push dword v86_int31 - 0xf0000
        iretd
        END
        jmp checks_end
        bits 16
v86_int31:
        int 0x31
        bits 32

; Code of other checks.
gate_params:
        mov eax, [ss:esp + 8]
        add eax, [ss:esp + 12]
        int 0x30
gate_return:
        retf 8
task_state:
        mov ax, DATA0
        mov ds, ax
        movzx eax, byte [GDT + SEL_TSS + 5]
        mov ah, [GDT + SEL_TSS1 + 5]
        shl eax, 16
        mov ax, [TSS1]
        mov ecx, cr0
        and ecx, 8
        or eax, ecx
        int 0x30
task_invalid:
        pop eax
        movzx ecx, word [TSS3]
        shl ecx, 16
        or eax, ecx
        int 0x30
task_other:
        pop eax
        movzx ecx, word [TSS4]
        or ecx, 0x8000
        shl ecx, 16
        or eax, ecx
        int 0x30
task_error:
        pop eax
        int 0x30
task_return:
        mov eax, 0x33333333
        iretd
task_saved:
        mov eax, [TSS0 + 40]
        add eax, [TSS0 + 32]
        sub eax, [start]
        add eax, [TSS0 + 56]
        int 0x30
checks_end:
