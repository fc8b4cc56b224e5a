; What bare-metal checks in 32-bit protected mode share: printing, handlers, the beginning and the end of a check. Who includes it
; names the places and selectors, and has `setup`, which puts everything as it was before the first check.
putc:
        out 0xe9, al
        ret
puts:                                                   ; at ESI
        push eax
.next:  mov al, [esi]
        inc esi
        test al, al
        jz .end
        call putc
        jmp .next
.end:   pop eax
        ret
; Prints the last CL hexadecimal digits of EDX.
puthex:
        push ecx
        push edx
        push eax
        mov ch, cl
        neg cl
        add cl, 8
        shl cl, 2
        shl edx, cl
.digit: rol edx, 4
        mov al, dl
        and al, 15
        add al, '0'
        cmp al, '9'
        jbe .put
        add al, 'a' - '9' - 1
.put:   call putc
        dec ch
        jnz .digit
        pop eax
        pop edx
        pop ecx
        ret

; Prints a literal.
%macro SAY 1
        push esi
        mov esi, %%text
        call puts
        pop esi
        jmp %%over
%%text: db %1, 0
%%over:
%endmacro
; Prints the last digits of a value.
%macro HEX 2
        push edx
        push ecx
        mov edx, %1
        mov cl, %2
        call puthex
        pop ecx
        pop edx
%endmacro

; Stubs of 16 bytes: an error code if the processor pushes none, the vector.
        align 16
stubs:
%assign n 0
%rep 0x40
 %if n != 8 && (n < 10 || n > 14) && n != 17
        push byte 0
 %endif
        push byte n
        jmp near handler
        align 16
%assign n n + 1
%endrep
        bits 16
stub16:                                                 ; through a 16-bit gate
        pushad
        push ds
        mov ax, DATA0
        mov ds, ax
        jmp dword CODE0:handler16
        bits 32
handler16:
        SAY " 16-bit gate: ip="
        movzx eax, word [esp + 36 - 2]
        HEX eax, 4
        SAY " cs="
        HEX [esp + 38 - 2], 4
        SAY " fl="
        HEX [esp + 40 - 2], 4
        SAY " sp="
        HEX [esp + 42 - 2], 4
        SAY " ss="
        HEX [esp + 44 - 2], 4
        jmp finish

; Offsets in what the handler has pushed.
F_GS    equ 0
F_FS    equ 4
F_ES    equ 8
F_DS    equ 12
F_EAX   equ 44
F_VEC   equ 48
F_ERR   equ 52
F_EIP   equ 56
F_CS    equ 60
F_FL    equ 64
F_ESP   equ 68
F_SS    equ 72

handler:
        pushad
        push ds
        push es
        push fs
        push gs
        mov ax, DATA0
        mov ds, ax
        mov es, ax
        mov ebp, esp
        cmp dword [terse], 0
        jne brief
        SAY " v="
        HEX [ebp + F_VEC], 2
        SAY " e="
        HEX [ebp + F_ERR], 4
        SAY " ip="
        mov eax, [ebp + F_EIP]
        test dword [ebp + F_FL], 0x20000
        jnz .raw
        sub eax, [start]
.raw:   HEX eax, 4
        SAY " cs="
        HEX [ebp + F_CS], 4
        SAY " fl="
        mov eax, [ebp + F_FL]
        and eax, 0x267700                               ; without RF, which QEMU does not set
        HEX eax, 6
        test dword [ebp + F_FL], 0x20000
        jnz .outer
        mov eax, cs
        xor eax, [ebp + F_CS]
        test al, 3
        jz .inner
.outer: SAY " sp="
        HEX [ebp + F_ESP], 6
        SAY " ss="
        HEX [ebp + F_SS], 4
        lea eax, [ebp + F_SS + 4]
        jmp .sp
.inner: lea eax, [ebp + F_FL + 4]
.sp:    SAY " top="
        HEX eax, 4
        SAY " a="
        HEX [ebp + F_EAX], 8
        SAY " ds="
        HEX [ebp + F_DS], 4
        HEX [ebp + F_ES], 4
        HEX [ebp + F_FS], 4
        HEX [ebp + F_GS], 4
        SAY " tr="
        str eax
        HEX eax, 4
        test dword [ebp + F_FL], 0x20000
        jz .no_v86
        SAY " es ds fs gs="
        HEX [ebp + F_SS + 4], 4
        HEX [ebp + F_SS + 8], 4
        HEX [ebp + F_SS + 12], 4
        HEX [ebp + F_SS + 16], 4
.no_v86:
        cmp dword [ebp + F_VEC], 14
        jne finish
        SAY " cr2="
        mov eax, cr2
        HEX eax, 8
finish: mov al, 10
        call putc
        mov esp, MAIN
        mov ax, DATA0
        mov ss, ax
        jmp [next]

; Vector and error code alone.
brief:
        mov al, ' '
        call putc
        mov eax, [ebp + F_VEC]
        cmp eax, 0x30
        je .ok
        cmp eax, 14
        jne .other
        HEX [ebp + F_ERR], 2
        jmp .end
.other: HEX eax, 2
        mov al, ':'
        call putc
        HEX [ebp + F_ERR], 3
        jmp .end
.ok:    SAY "--"
.end:   mov esp, MAIN
        mov ax, DATA0
        mov ss, ax
        jmp [next]

; A check at level 0, up to END.
%macro T0 1
 %push check
        call setup
        mov dword [next], %$end
        mov dword [start], %$code
        mov esi, %$name
        call puts
        xor esi, esi
        mov esp, STACK0
        xor eax, eax
        jmp %$code
%$name: db %1, 0
%$code:
%endmacro
; A check at level 3.
%macro T3 1
 %push check
        call setup
        mov dword [next], %$end
        mov dword [start], %$code
        mov esi, %$name
        call puts
        mov edi, %$code
        jmp to_user
%$name: db %1, 0
%$code:
%endmacro
%macro END 0
        int 0x30
        bits 32
%$end:
 %pop
%endmacro

; To level 3, at EDI.
to_user:
        mov ax, DATA3
        mov ds, ax
        mov es, ax
        push dword DATA3
        push dword USER
        push dword [uflags]
        push dword CODE3
        push edi
        xor eax, eax
        xor esi, esi
        xor edi, edi
        iretd
